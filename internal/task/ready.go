package task

import "fmt"

// Ready is what a commit makes durable of a task, together with everything that the outbox holds. All of it goes into
// one transaction; outside of one the output goes first, then the times, then the offsets.
type Ready struct {
	Offsets []Offset // of the inputs; empty where nothing is committed of the task
	Times   []Time   // how far its operators are, for the progress topic
}

// sealed is what a commit under way fixes of a task, beside what its stores, queues and schedules keep themselves.
type sealed struct {
	underWay bool
	touched  bool // there is something to commit
	worked   bool // the task did something
}

// Ready begins a commit: it brings out what the work since the last one still owes, and seals it. What the task does
// from then on belongs to the next commit, which begins after Advance. After an error only Discard helps. A task that
// is [Task.Untouched] needs none.
func (t *Task) Ready() (Ready, error) {
	if err := t.life.ready("ready"); err != nil {
		return Ready{}, err
	}
	if t.sealed.touched {
		return Ready{}, fmt.Errorf("task %s: ready: a commit is under way: advance or discard first", t.id)
	}
	touched := !t.Untouched()
	if err := t.flush(); err != nil {
		return Ready{}, err
	}
	r := Ready{Offsets: t.progress.offsets(), Times: t.progress.changedTimes()}
	t.sealed = sealed{underWay: true, touched: touched || !t.Untouched(), worked: t.worked}
	t.worked = false
	t.time.seal()
	t.progress.seal()
	t.nodes.seal()
	t.punct.seal()
	t.search.seal()
	t.holds(afterSeal)
	return r, nil
}

// Advance tells that what Ready has sealed is durable: outputs, changelogs and offsets. position is the next offset of
// a store's changelog partition after the records of that commit; below 0: nothing was written to it. It may be nil
// where no store has a changelog. Advance may follow a failure of work for the next commit. It does nothing while no
// commit is under way.
func (t *Task) Advance(position func(store string) int64) error {
	if !t.sealed.underWay {
		return nil
	}
	if err := t.life.in("advance", Running); err != nil {
		return err
	}
	if err := t.Stores.commit(position); err != nil {
		return fmt.Errorf("task %s: advance: %w", t.id, t.failed(err))
	}
	t.time.advance()
	t.progress.advance()
	t.nodes.advance()
	t.punct.advance()
	t.search.advance()
	if t.sealed.worked { // it has committed something again
		t.Retries.end()
	}
	t.sealed = sealed{}
	t.holds(between)
	return nil
}
