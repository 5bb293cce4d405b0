package task

import (
	"thalweg/internal/batch"
	"thalweg/topology"
)

// Add queues a batch of an input. It is kept whole and decoded when its records' turn comes; control batches only
// move the position. The batch's memory must never change. Records below the input's position are passed over.
func (t *Task) Add(topic string, partition int32, b batch.Batch) error {
	if err := t.life.ready("add"); err != nil {
		return err
	}
	q, err := t.Queues.input("add", topic, partition)
	if err != nil {
		return err
	}
	q.add(b)
	return nil
}

// Step processes up to budget records, each time from the input whose head has the smallest timestamp (of equal ones
// the input that comes first), and calls the punctuations of stream time that they bring due. It returns early when
// nothing is left or an input has to be waited for, and after the record at hand when it is cut short (Config.Cut).
// Inputs that are blocked count neither as empty nor as inputs.
func (t *Task) Step(budgetRecords int, wallMillis int64) (processed int, err error) {
	if err := t.life.ready("step"); err != nil {
		return 0, err
	}
	t.setWall(wallMillis)
	defer t.progress.noteWritten(t.outbox.bytes)
	defer func() {
		if v := recover(); v != nil {
			err = t.env.Recovered(v)
		}
		if err != nil {
			err = t.failed(err)
		}
	}()
	t.holds(between)
	t.Retries.begin()
	if t.Retries.paused {
		return 0, nil
	}
	for processed < budgetRecords {
		q, limit, err := t.Queues.choose()
		if err == nil && t.Aligning.Reaches() {
			if err = t.align(); err == nil {
				continue
			}
		}
		if q == nil || err != nil {
			return processed, err
		}
		if budgetRecords == 1 {
			t.last = q.head.Metadata()
		}
		n, err := t.drain(q, limit, budgetRecords-processed)
		processed += n
		t.worked = true
		if err != nil {
			return processed, err // failed, above, reports the record at Source
		}
		t.env.Source = nil
		if t.cut.Load() || t.Crowded() {
			break
		}
	}
	return processed, nil
}

// align goes on to the times of the goals that are reached, and does what is due though no record came.
func (t *Task) align() error {
	for t.Aligning.Reaches() {
		if !t.Aligning.next() {
			continue
		}
		t.worked = true
		if err := t.nodes.timeMoved(); err != nil {
			return err
		}
		if t.env.StreamTime >= t.punct.due[topology.StreamTime] {
			if _, err := t.punct.run(topology.StreamTime, t.env.StreamTime, t.env.Guarded); err != nil {
				return err
			}
		}
	}
	return nil
}

// Crowded tells that what the task has written takes all the memory that it may. Step then returns after each record,
// until the output is sent or committed.
func (t *Task) Crowded() bool {
	return t.tx.Overflows() || t.outbox.Crowded()
}

// drain processes the records of one input up to the timestamp from which another has its turn.
func (t *Task) drain(q *queue, limit int64, budget int) (n int, err error) {
	for n < budget {
		if err := q.process(); err != nil {
			return n, err
		}
		n++
		if t.cut.Load() || t.Crowded() {
			budget = n
		}
		if t.env.StreamTime >= t.punct.due[topology.StreamTime] {
			t.env.Source = nil
			if _, err := t.punct.run(topology.StreamTime, t.env.StreamTime, t.env.Guarded); err != nil {
				return n, err
			}
		}
		ok, err := q.load()
		if !ok || err != nil || q.time > limit || q.head.Offset >= q.blockedAt || q.head.Offset >= q.goal {
			return n, err
		}
	}
	return n, nil
}

// Punctuate calls the punctuations of the wall clock that are due, and reports whether there were any.
func (t *Task) Punctuate(wallMillis int64) (fired bool, err error) {
	if err := t.life.ready("punctuate"); err != nil {
		return false, err
	}
	t.setWall(wallMillis)
	if t.Retries.paused || t.punct.due[topology.WallClock] > wallMillis {
		return false, nil
	}
	t.worked = true
	err = t.guarded(func() error {
		fired, err = t.punct.run(topology.WallClock, wallMillis, t.env.Guarded)
		t.time.set() // it may have gone on because inputs are idle
		return err
	})
	return fired, err
}

// NextWallPunctuation is when Punctuate has something to do next; ok is false when never.
func (t *Task) NextWallPunctuation() (wallMillis int64, ok bool) {
	due := t.punct.due[topology.WallClock]
	return due, due != never && !t.Retries.paused
}

// setWall tells the task what time it is. Where the clock is set back, as a time server may do, what waits for an
// interval waits no longer for that.
func (t *Task) setWall(millis int64) {
	if back := t.env.WallTime - millis; back > 0 {
		t.punct.setBack(back)
		t.Retries.setBack(back)
	}
	t.env.WallTime = millis
}

// failed notes what made the task stop, and returns it.
func (t *Task) failed(err error) error {
	t.life.broken = t.failures.stopsFor(err)
	t.env.Source = nil
	return t.life.broken
}

// guarded runs f outside of a record: a panic becomes an error, and an error stops the task.
func (t *Task) guarded(f func() error) (err error) {
	defer t.progress.noteWritten(t.outbox.bytes)
	defer func() {
		if v := recover(); v != nil {
			err = t.env.Recovered(v)
		}
		if err != nil {
			err = t.failed(err)
		}
	}()
	return f()
}
