package runtime

import "fmt"

// suspend lets a task rest that has committed everything. What is in memory of its commits goes to the engine. It keeps
// its stores and their caches, does nothing and fetches nothing: another process may have it. It lets go of the records
// that it has fetched, which are no part of what a process may keep in memory for tasks that it runs. It either goes on
// as it was left, and fetches them again, or is closed.
func (w *worker) suspend(j *job) error {
	w.liveness.doing(&activity{what: "suspending task " + j.id.String()})
	if err := j.task.Suspend(); err != nil {
		return err
	}
	w.inputs.suspend(j)
	w.commits.touched.forget(j) // it has nothing for the next commit; resuming it looks again
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
func (w *worker) resume(j *job) error {
	if err := j.task.Resume(w.app.cfg.Clock().UnixMilli()); err != nil {
		return err
	}
	j.suspended = false
	for _, in := range j.inputs {
		w.inputs.fetchFrom(in)
	}
	w.jobs.run(j)
	w.figures.note(j)
	w.turns.called(j)
	w.commits.noteMoved(j, w.app.cfg.Clock())
	w.turns.wake(j)
	w.notices.report(taskRuns, j.id, nil)
	w.notices.changed(j.id, "running")
	return nil
}
