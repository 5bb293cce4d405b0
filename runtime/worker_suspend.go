package runtime

import "fmt"

// suspend lets a task rest that has committed everything. What is in memory of its commits goes to the engine. It keeps
// its stores, their caches and the records that it has fetched, does nothing and fetches nothing: another process may
// have it. It either goes on as it was left or is closed.
func (w *worker) suspend(j *job) error {
	w.liveness.doing(&activity{what: "suspending task " + j.id.String()})
	w.inputs.suspend(j)
	w.search.forget(j)
	w.turns.rest(j)
	w.jobs.rest(j)
	w.proofs.applyTo(j)
	j.suspended = true
	w.figures.note(j)
	if err := j.tx.Checkpoint(); err != nil {
		return fmt.Errorf("task %s: checkpoint: %w", j.id, err)
	}
	w.notices.report(taskSuspended, j.id, nil)
	w.notices.changed(j.id, "suspended")
	return nil
}

// resume goes on with a task that nobody else has had since it was suspended.
func (w *worker) resume(j *job) {
	j.suspended = false
	w.jobs.run(j)
	w.figures.note(j)
	w.turns.called(j)
	w.commits.noteMoved(j, w.app.cfg.Clock())
	w.turns.wake(j) // its turn fetches on
	w.notices.report(taskRuns, j.id, nil)
	w.notices.changed(j.id, "running")
}
