package runtime

import (
	"context"
	"fmt"
	"slices"
)

// suspensions are the tasks that a worker is to suspend, and those that it is to go on with. A suspended task has
// committed everything. It keeps its stores, their caches and the records that it has fetched, does nothing and fetches
// nothing: another process may have it. It either goes on as it was left or is closed.
type suspensions struct {
	worker          *worker
	suspend, resume []TaskID
}

// resumeAll goes on with tasks.
func (s *suspensions) resumeAll() {
	for _, id := range s.resume {
		if j := s.worker.jobs.of[id]; j != nil && j.suspended { // else it was closed meanwhile, and is opened again
			s.resumeTask(j)
		}
	}
	s.resume = s.resume[:0]
}

// suspendAll suspends tasks that are committed. One that was closed meanwhile is reported already.
func (s *suspensions) suspendAll() error {
	ids := s.suspend
	s.suspend = nil
	for _, id := range ids {
		if j := s.worker.jobs.of[id]; j != nil && s.worker.jobs.runs(j) {
			if err := s.suspendTask(j); err != nil {
				return err
			}
		}
	}
	return nil
}

// suspendTask lets a task that is committed rest. What is in memory of its commits goes to the engine.
func (s *suspensions) suspendTask(j *job) error {
	w := s.worker
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

// resumeTask goes on with a task that nobody else has had since it was suspended.
func (s *suspensions) resumeTask(j *job) {
	w := s.worker
	j.suspended = false
	w.jobs.run(j)
	w.figures.note(j)
	w.turns.called(j)
	w.commits.noteMoved(j, w.app.cfg.Clock())
	w.turns.wake(j) // its turn fetches on
	w.notices.report(taskRuns, j.id, nil)
	w.notices.changed(j.id, "running")
}

// revoke commits, and gives tasks up in a state in which others can go on: some are suspended, and those in closing are
// closed. Their local state stays on disk.
func (w *worker) revoke(ctx context.Context, stop <-chan struct{}, closing []TaskID) error {
	now := w.app.cfg.Clock()
	switch {
	case !w.works(closing) && !w.works(w.suspensions.suspend):
	case !w.commits.pending():
		w.proofs.confirm(ctx, now)
	default:
		if err := w.commits.commitRest(ctx, now); err != nil {
			if err := w.heal(ctx, stop, err); err != nil {
				return err
			}
		}
	}
	if err := w.suspensions.suspendAll(); err != nil {
		return err
	}
	return w.closeTasks(closing)
}

// works tells whether one of the tasks may have something to commit.
func (w *worker) works(ids []TaskID) bool {
	return slices.ContainsFunc(ids, func(id TaskID) bool { return w.jobs.of[id] != nil && !w.jobs.of[id].suspended })
}
