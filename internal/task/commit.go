package task

import (
	"errors"
	"fmt"
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
func (t *Task) Pending() bool { return t.sealed.touched || t.tx.Dirty() || t.progress.changed() }

// Unsealed tells that something was done that the commit under way, if there is one, does not have.
func (t *Task) Unsealed() bool {
	return t.worked || t.life.broken != nil || t.tx.Dirty() || t.progress.changed()
}

// Fence is an offset that changes nothing: the committed one of the first input. The group refuses it from a task that
// is somebody else's by now. It is for what is written outside of a commit of the task.
func (t *Task) Fence() (o Offset, ok bool) { return t.progress.fence() }

// Untouched tells that nothing was done since the last commit: Discard would change nothing but the queues.
func (t *Task) Untouched() bool { return !t.sealed.touched && !t.Unsealed() }

// Discard drops all work since the last commit, also that of a commit under way: stores, positions, times, counters,
// punctuations, and the graph, which is built again so that what nodes hold in memory goes too. The queues are empty:
// fetch from [Queues.Inputs] again. The outbox, which other tasks share, is the worker's to discard.
func (t *Task) Discard() error {
	if t.life.state != Running {
		return nil
	}
	t.life.broken, t.worked = nil, false
	t.failures.discard()
	t.search.discard()
	t.sealed = sealed{}
	err := t.nodes.close()
	t.time.rewind()
	t.progress.rewind()
	if e := t.tx.Discard(); e != nil {
		err = errors.Join(err, fmt.Errorf("task %s: discard: %w", t.id, e))
	}
	if e := t.build(); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return t.failed(err)
	}
	t.holds(rewound)
	return nil
}
