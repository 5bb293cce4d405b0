package task

import (
	"fmt"
	"time"

	"thalweg/topology"
)

// Blocked is the error of a record that failed and is to be processed again: its input is blocked. A failure without a
// source record, in a punctuation or at a commit, blocks the whole task: Topic is empty then. The driver drops the
// transaction, as after any failure, and calls Discard. From then on Step leaves the input alone from the record on,
// or does nothing, until [Task.Retry] has its turn.
type Blocked struct {
	Task      ID
	Topic     string
	Partition int32
	Offset    int64
	Attempt   int           // the one that failed, from 1
	Attempts  int           // how many there are
	Wait      time.Duration // until the next one, from the next Step on: see [Task.NextRetry]
	Err       error
}

func (b *Blocked) Error() string {
	return fmt.Sprintf("attempt %d of %d failed, the next one follows in %v: %v", b.Attempt, b.Attempts, b.Wait, b.Err)
}

func (b *Blocked) Unwrap() error { return b.Err }

// retrying is what a queue knows about the record that failed last, and a task about its last failure without a record.
// It survives Discard, and ends with the commit of the record, or of anything that the task did.
type retrying struct {
	offset int64 // topology.Unknown: there is none; unused for a task
	failed int   // attempts so far
	wait   int64 // milliseconds
	until  int64 // wall clock; 0: wait has not begun
}

// attempt is the number of the attempt that processes a record.
func (q *queue) attempt(offset int64) int {
	if q.retrying.offset == offset {
		return q.retrying.failed + 1
	}
	return 1
}

// countAttempt fills in how often the record was processed, or the work without a record done.
func (t *Task) countAttempt(pe *topology.ProcessingError) {
	pe.Attempts = t.pause.failed + 1
	if q := t.queue(pe.Metadata.Topic, pe.Metadata.Partition); q != nil {
		pe.Attempts = q.attempt(pe.Metadata.Offset)
	}
}

// again says how long a failure waits for its next attempt: nil where there is none, since it was the last attempt, or
// since a Discard would not bring the record back.
func (t *Task) again(pe *topology.ProcessingError, r topology.Retry) *Blocked {
	r = r.WithDefaults()
	m := pe.Metadata
	if t.kept != nil || pe.Attempts >= r.Attempts || pe.Phase != topology.PhaseProcess {
		return nil
	}
	if q := t.queue(m.Topic, m.Partition); m.Topic != "" && (q == nil || m.Offset < q.committed.next) {
		return nil
	}
	return &Blocked{
		Task: t.id, Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Attempt: pe.Attempts, Attempts: r.Attempts,
		Wait: waitAfter(r, pe.Attempts),
	}
}

// waitAfter is the pause after so many failures: it doubles from First up to Max.
func waitAfter(r topology.Retry, failures int) time.Duration {
	wait := r.First
	for range failures - 1 {
		if wait > r.Max/2 {
			return r.Max
		}
		wait *= 2
	}
	return wait
}

// block makes Step stop before the record, or at once.
func (t *Task) block(b *Blocked) {
	r := retrying{offset: b.Offset, failed: b.Attempt, wait: max(b.Wait.Milliseconds(), 1)}
	if q := t.queue(b.Topic, b.Partition); q != nil {
		q.retrying, q.blockedAt = r, b.Offset
		return
	}
	t.pause, t.paused = r, true
}

// beginWaits starts the waits of what was blocked since the last step. The failure itself may have taken long: only now
// does the task know what time it is.
func (t *Task) beginWaits() {
	if t.paused && t.pause.until == 0 {
		t.pause.until = t.env.WallTime + t.pause.wait
	}
	for _, q := range t.queues {
		if q.blockedAt != never && q.retrying.until == 0 {
			q.retrying.until = t.env.WallTime + q.retrying.wait
		}
	}
}

// NextRetry is the time up to which an input is blocked, of several the earliest, or the task; ok is false where there
// is nothing to try again, or where the record has not been added yet.
func (t *Task) NextRetry() (wallMillis int64, ok bool) {
	if t.paused {
		return t.pause.until, t.pause.until > 0
	}
	wallMillis = never
	for _, q := range t.queues {
		if q.blocked() && q.retrying.until > 0 {
			wallMillis = min(wallMillis, q.retrying.until)
		}
	}
	return wallMillis, wallMillis != never
}

// Retry processes a record whose time has come, and unblocks its input. It is alone in its transaction: the driver
// commits before, so that another failure takes nothing else back, however short the pauses are. Where the task is
// blocked as a whole, Retry only unblocks it.
func (t *Task) Retry(wallMillis int64) (processed bool, err error) {
	if err := t.life.ready("retry"); err != nil {
		return false, err
	}
	if t.Pending() {
		return false, fmt.Errorf("task %s: retry: commit or discard first", t.id)
	}
	t.setWall(wallMillis)
	if at, ok := t.NextRetry(); !ok || at > wallMillis {
		return false, nil
	}
	if t.paused {
		t.paused = false
		return false, nil
	}
	for _, q := range t.queues {
		if !q.blocked() || q.retrying.until == 0 || q.retrying.until > wallMillis {
			continue
		}
		q.blockedAt, t.last = never, q.head.Metadata()
		err := t.guarded(func() error {
			if cause := q.refusal; cause != nil {
				return q.refuse(cause)
			}
			_, err := t.drain(q, never, 1)
			return err
		})
		t.env.Source, t.worked = nil, true
		return err == nil, err
	}
	return false, nil
}

// blocked reports that the head is the record that waits, or one behind it.
func (q *queue) blocked() bool { return q.has && q.head.Offset >= q.blockedAt }
