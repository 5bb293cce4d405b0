package task

import (
	"errors"
	"fmt"

	"thalweg/internal/defect"
)

// flush brings out everything that the work since the last commit still owes: tables emit their changes, and each key
// that changed goes to its changelog. After it the outbox holds all that belongs to the transaction.
func (t *Task) flush() error {
	t.search.flushing = true
	defer func() { t.search.flushing = false }()
	return t.guarded(func() error {
		if err := t.tx.Failed(); err != nil {
			return err
		}
		some, err := t.nodes.settle()
		t.worked = t.worked || some
		if err != nil {
			return err
		}
		for again := true; again; {
			if err := t.Stores.flush(); err != nil {
				return t.search.begin(fmt.Errorf("task %s: flush: %w", t.id, err))
			}
			some, err := t.nodes.settle() // tables may have told nodes that hold records back
			t.worked = t.worked || some
			if err != nil {
				return err
			}
			again = some
		}
		if err := t.global.keep(); err != nil {
			return fmt.Errorf("task %s: offsets: %w", t.id, err)
		}
		if err := t.Stores.drain(); err != nil {
			return t.search.begin(fmt.Errorf("task %s: changelog: %w", t.id, err))
		}
		return nil
	})
}

// Pending reports whether there is anything to commit, or being committed.
func (t *Task) Pending() bool { return t.sealed.touched || t.changed() }

// changed tells that there is something to commit that the commit under way does not have.
func (t *Task) changed() bool {
	return t.wrote || t.tx.Dirty() || t.Queues.Moved() || t.marksMoved() || t.Aligning.changed()
}

// Unsealed tells that something was done that the commit under way, if there is one, does not have.
func (t *Task) Unsealed() bool { return t.worked || t.life.broken != nil || t.changed() }

// offsets are the positions of the inputs that moved since the last commit. Where only marks did, or where the task has
// written something though no input moved, as a punctuation does, it is the first input's: the group takes an offset
// from the task's owner alone, and nothing else in a transaction shows whose it is.
func (t *Task) offsets() []Offset {
	if !t.commitsOffsets() {
		return nil
	}
	var offsets []Offset
	marks := t.besideOffsets()
	for _, q := range t.Queues.list {
		if q.moved() || t.Aligning.goesWith(q) {
			offsets = append(offsets, q.offset(marks))
		}
	}
	if len(offsets) == 0 {
		offsets = append(offsets, t.Queues.list[0].offset(marks))
	}
	return offsets
}

// commitsOffsets tells whether the next commit has an offset of the task.
func (t *Task) commitsOffsets() bool {
	return len(t.Queues.list) > 0 && (t.Queues.Moved() || t.wrote && !defect.UnfencedWrites || t.marksMoved() ||
		t.Aligning.changed())
}

// Fence is an offset that changes nothing: the committed one of the first input. The group refuses it from a task that
// is somebody else's by now. It is for what is written outside of a commit of the task.
func (t *Task) Fence() (o Offset, ok bool) {
	if len(t.Queues.list) == 0 {
		return Offset{}, false
	}
	q := t.Queues.list[0]
	return q.offsetAt(q.committed, t.Aligning.beside(t.times.fence(), t.Aligning.committed, t.times.commits)), true
}

func (q *queue) offset(marks map[string]int64) Offset {
	return q.offsetAt(mark{q.next, q.partitionTime}, marks)
}

func (q *queue) offsetAt(at mark, marks map[string]int64) Offset {
	if len(marks) > 0 {
		marks[nextOffset] = at.next
	}
	return Offset{
		Topic: q.head.Topic, Partition: q.head.Partition,
		Next: at.next, Metadata: encodeMetadata(at.partitionTime, marks),
	}
}

// noteWritten notes whether the outbox has grown since it had so many bytes, in a call of this task.
func (t *Task) noteWritten(before int) { t.wrote = t.wrote || t.outbox.bytes > before }

// Untouched tells that nothing was done since the last commit: Discard would change nothing but the queues.
func (t *Task) Untouched() bool { return !t.sealed.touched && !t.Unsealed() }

// Discard drops all work since the last commit, also that of a commit under way: stores, positions, times, counters,
// punctuations, and the graph, which is built again so that what nodes hold in memory goes too. The queues are empty:
// fetch from [Task.Inputs] again. The outbox, which other tasks share, is the worker's to discard.
func (t *Task) Discard() error {
	if t.life.state != Running {
		return nil
	}
	t.life.broken, t.worked, t.wrote = nil, false, false
	t.failures.discard()
	t.search.discard()
	t.times.discard()
	t.sealed.end()
	err := t.nodes.close()
	t.Queues.rewind()
	t.time.rewind()
	t.Aligning.rewind()
	if e := t.tx.Discard(); e != nil {
		err = errors.Join(err, fmt.Errorf("task %s: discard: %w", t.id, e))
	}
	if e := t.build(); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return t.failed(err)
	}
	t.holdsAfterDiscard()
	return nil
}
