package task

import (
	"fmt"
	"time"

	"thalweg/topology"
)

// Blocked is the error of a record that failed and is to be processed again: its input is blocked. The driver drops
// the transaction, as after any failure, and calls Discard. From then on Step leaves the input alone from the record
// on, until [Task.Retry] has its turn.
type Blocked struct {
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

// retrying is what a queue knows about the record that failed last. It survives Discard, and ends with the commit of
// the record.
type retrying struct {
	offset int64 // topology.Unknown: there is none
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

// again says when a failed record is to be processed again: nil where it is not, since it was the last attempt, or
// since the failure has no record that a Discard would bring back.
func (t *Task) again(pe *topology.ProcessingError, r topology.Retry) *Blocked {
	r = r.WithDefaults()
	m := pe.Metadata
	q := t.queue(m.Topic, m.Partition)
	if q == nil || t.kept != nil || m.Offset < q.committed.next || pe.Attempts >= r.Attempts ||
		pe.Phase != topology.PhaseProcess {
		return nil
	}
	return &Blocked{
		Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Attempt: pe.Attempts, Attempts: r.Attempts,
		Wait: pause(r, pe.Attempts),
	}
}

// pause is the time after so many failures: it doubles from First up to Max.
func pause(r topology.Retry, failures int) time.Duration {
	wait := r.First
	for range failures - 1 {
		if wait > r.Max/2 {
			return r.Max
		}
		wait *= 2
	}
	return wait
}

// block makes Step stop before the record.
func (t *Task) block(b *Blocked) {
	q := t.queue(b.Topic, b.Partition)
	q.retrying = retrying{offset: b.Offset, failed: b.Attempt, wait: b.Wait.Milliseconds()}
	q.blockedAt = b.Offset
}

// beginWaits starts the waits of inputs that were blocked since the last step. The failure itself may have taken long:
// only now does the task know what time it is.
func (t *Task) beginWaits() {
	for _, q := range t.queues {
		if q.blockedAt != never && q.retrying.until == 0 {
			q.retrying.until = t.env.WallTime + q.retrying.wait
		}
	}
}

// NextRetry is the time up to which an input is blocked, of several the earliest; ok is false where there is nothing
// to try again, or where the record has not been added yet.
func (t *Task) NextRetry() (wallMillis int64, ok bool) {
	wallMillis = never
	for _, q := range t.queues {
		if q.blocked() && q.retrying.until > 0 {
			wallMillis = min(wallMillis, q.retrying.until)
		}
	}
	return wallMillis, wallMillis != never
}

// Retry processes a record whose time has come, and unblocks its input. It is alone in its transaction: the driver
// commits before, so that another failure takes nothing else back, however short the pauses are.
func (t *Task) Retry(wallMillis int64) (processed bool, err error) {
	if err := t.ready("retry"); err != nil {
		return false, err
	}
	if t.Pending() {
		return false, fmt.Errorf("task %s: retry: commit or discard first", t.id)
	}
	t.env.WallTime = wallMillis
	for _, q := range t.queues {
		if !q.blocked() || q.retrying.until == 0 || q.retrying.until > wallMillis {
			continue
		}
		q.blockedAt = never
		err := t.guarded(func() error {
			_, err := t.drain(q, never, 1)
			return err
		})
		t.env.Source = nil
		return err == nil, err
	}
	return false, nil
}

// blocked tells that the head is the record that waits, or one behind it.
func (q *queue) blocked() bool { return q.has && q.head.Offset >= q.blockedAt }
