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
	Wait      time.Duration // until the next one, from the next Step on: see [Retries.Next]
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

// Retries are the waits of what failed and is processed again.
type Retries struct {
	id     ID
	env    *topology.Env
	queues *Queues
	none   bool     // nothing is tried again: a Discard would not bring it back
	paused bool     // the task is blocked as a whole
	pause  retrying // its last failure without a record
}

// attempt is how often the record was processed with this time, or the work without a record done.
func (r *Retries) attempt(m topology.Metadata) int {
	if q := r.queues.find(m.Topic, m.Partition); q != nil {
		return q.attempt(m.Offset)
	}
	return r.pause.failed + 1
}

// again says how long a failure waits for its next attempt: nil where there is none, since it was the last attempt, or
// since a Discard would not bring the record back.
func (r *Retries) again(pe *topology.ProcessingError, policy topology.Retry) *Blocked {
	policy = policy.WithDefaults()
	m := pe.Metadata
	if r.none || pe.Attempts >= policy.Attempts || pe.Phase != topology.PhaseProcess {
		return nil
	}
	if q := r.queues.find(m.Topic, m.Partition); m.Topic != "" && (q == nil || m.Offset < q.committed.next) {
		return nil
	}
	return &Blocked{
		Task: r.id, Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Attempt: pe.Attempts,
		Attempts: policy.Attempts, Wait: waitAfter(policy, pe.Attempts),
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
func (r *Retries) block(b *Blocked) {
	wait := retrying{offset: b.Offset, failed: b.Attempt, wait: max(b.Wait.Milliseconds(), 1)}
	if q := r.queues.find(b.Topic, b.Partition); q != nil {
		q.retrying, q.blockedAt = wait, b.Offset
		return
	}
	r.pause, r.paused = wait, true
}

// Refuse says that the broker does not take what follows from a record, which has been found by committing it alone.
// The input is blocked there until [Task.Retry], which lets the policy decide instead of processing the record.
func (r *Retries) Refuse(m topology.Metadata, cause error) error {
	q, err := r.queues.input("refuse", m.Topic, m.Partition)
	if err != nil {
		return err
	}
	if q.refusal != nil && q.retrying.offset == m.Offset {
		return fmt.Errorf("task %s: %s offset %d: the broker refuses its dead letter, too: %w", r.id, q, m.Offset, cause)
	}
	r.block(&Blocked{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset})
	q.refusal = cause
	return nil
}

// begin starts the waits of what was blocked since the last step. The failure itself may have taken long: only now does
// the task know what time it is.
func (r *Retries) begin() {
	if r.paused && r.pause.until == 0 {
		r.pause.until = r.env.WallTime + r.pause.wait
	}
	for _, q := range r.queues.list {
		if q.blockedAt != never && q.retrying.until == 0 {
			q.retrying.until = r.env.WallTime + q.retrying.wait
		}
	}
}

// Next is the time up to which an input is blocked, of several the earliest, or the task; ok is false where there is
// nothing to try again, or where the record has not been added yet.
func (r *Retries) Next() (wallMillis int64, ok bool) {
	if r.paused {
		return r.pause.until, r.pause.until > 0
	}
	wallMillis = never
	for _, q := range r.queues.list {
		if q.blocked() && q.retrying.until > 0 {
			wallMillis = min(wallMillis, q.retrying.until)
		}
	}
	return wallMillis, wallMillis != never
}

// due unblocks the task, or the first input whose time has come, and returns it.
func (r *Retries) due(wallMillis int64) *queue {
	if at, ok := r.Next(); !ok || at > wallMillis {
		return nil
	}
	if r.paused {
		r.paused = false
		return nil
	}
	for _, q := range r.queues.list {
		if q.blocked() && q.retrying.until > 0 && q.retrying.until <= wallMillis {
			q.blockedAt = never
			return q
		}
	}
	return nil
}

// end tells that the task has committed something again.
func (r *Retries) end() {
	if !r.paused {
		r.pause = retrying{}
	}
}

// setBack keeps the waits as long as they are when the wall clock is set back by so much.
func (r *Retries) setBack(by int64) {
	r.pause.setBack(by)
	for _, q := range r.queues.list {
		q.retrying.setBack(by)
	}
}

func (w *retrying) setBack(by int64) {
	if w.until > 0 {
		w.until = max(w.until-by, 1)
	}
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
	q := t.Retries.due(wallMillis)
	if q == nil {
		return false, nil
	}
	t.last = q.head.Metadata()
	err = t.guarded(func() error {
		if cause := q.refusal; cause != nil {
			return q.refuse(cause)
		}
		_, err := t.drain(q, never, 1)
		return err
	})
	t.env.Source, t.worked = nil, true
	return err == nil, err
}

// Last is the record that was processed last, by a Step of one record or by Retry.
func (t *Task) Last() topology.Metadata { return t.last }

// blocked reports that the head is the record that waits, or one behind it.
func (q *queue) blocked() bool { return q.has && q.head.Offset >= q.blockedAt }

// refuse lets the policy decide about the head. Its dead letter is not written into the future, which a broker may
// refuse again.
func (q *queue) refuse(cause error) error {
	q.env.Source = &q.head
	for i, s := range q.sources { // which have taken the record, though what followed is gone
		if q.ownTime || q.times[i] >= 0 {
			s.Instance().Enter()
		}
	}
	in := q.sources[0].Instance()
	in.Resume()
	err := in.Handle(topology.PhaseEncode, min(q.head.Timestamp, q.env.WallTime), fmt.Errorf("the broker refuses what "+
		"follows from the record: %w", cause))
	if err == nil {
		q.take()
	}
	return err
}
