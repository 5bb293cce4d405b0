package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// openTasks makes the tasks that the dispatcher has ordered.
func (w *worker) openTasks(ctx context.Context, now time.Time) error {
	w.doing(&doingOpen)
	ids := slices.SortedFunc(maps.Keys(w.opens), compareTaskIDs)
	lease := w.opens[ids[0]]
	if lease != w.lease && len(w.jobs.of) > 0 { // they would have been lost before
		return errLease
	}
	// The next steps may take their time, and an open transaction has a timeout.
	if err := w.commits.commitRest(ctx, now); err != nil {
		return err // they are opened in another turn
	}
	w.lease = lease
	w.client.UseLease(lease)
	if err := w.openAll(ctx, ids, now); err != nil {
		return joined(err, w.giveBack(ids, err))
	}
	for _, id := range ids {
		delete(w.opens, id)
	}
	return nil
}

// giveBack undoes what was begun with tasks that neither run nor are restored: they are opened again later.
func (w *worker) giveBack(ids []TaskID, why error) (err error) {
	for _, id := range ids {
		j := w.jobs.of[id]
		switch {
		case j == nil:
			w.decline(id, why)
		case j.restoring == nil && !j.suspended && !w.jobs.runs(j):
			err = joined(err, w.closeJob(j, why))
		}
		delete(w.opens, id)
	}
	return err
}

func (w *worker) openAll(ctx context.Context, ids []TaskID, now time.Time) error {
	ctx, cancel := w.app.untilStop(ctx)
	defer cancel()
	defer w.app.retention.open(ids)()
	if err := w.app.standbys.await(ctx, ids); err != nil {
		return err
	}
	o := &opening{app: w.app, client: w.client, log: w.log, ids: ids, now: now}
	if err := o.look(ctx); err != nil {
		return err
	}
	var opened []*job
	for _, id := range ids {
		j, err := w.openJob(id, o)
		if err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
		opened = append(opened, j)
	}
	return w.beginRestore(opened, &o.positions)
}

// start lets a task take records. What was restored goes to the engine first: views count the task's partition as here
// from now on, and no commit may follow for a long time.
func (w *worker) start(j *job) error {
	w.doing(&activity{what: "starting task " + j.id.String()})
	j.tx.MarkSynced(j.asked)
	if err := j.task.Restored(j.restoredTo); err != nil {
		return fmt.Errorf("task %s: %w", j.id, err)
	}
	if err := j.tx.Checkpoint(); err != nil {
		return fmt.Errorf("task %s: %w", j.id, err)
	}
	w.jobs.run(j)
	j.started = w.app.cfg.Clock()
	for _, in := range j.inputs {
		w.inputs.fetchFrom(in)
	}
	w.commits.noteMoved(j, j.started.Add(-skippedAfter)) // where it starts is committed at once
	w.figures.note(j)
	w.turns.called(j)
	w.turns.wake(j)
	w.report(taskRuns, j.id, nil)
	w.tell(j, "running")
	return nil
}

// closeJob drops what the task has not committed and keeps the rest on disk. why is the error of a task that can't be
// opened.
func (w *worker) closeJob(j *job, why error) error {
	w.doing(&activity{what: "closing task " + j.id.String()})
	w.inputs.close(j)
	w.cancelRestore(j)
	w.jobs.remove(j)
	w.search.forget(j)
	w.figures.retire(j)
	w.turns.rest(j)
	w.checkpoints.forget(j)
	w.commits.touched.forget(j)
	w.commits.flight.forget(j)
	if !j.suspended { // else it has been another's, perhaps
		w.proofs.applyTo(j)
	}
	err := joined(j.close(), w.app.balance.noteHeld(j.id))
	w.report(taskClosed, j.id, why)
	w.tell(j, "closed")
	return err
}

func (w *worker) tell(j *job, state string) {
	w.log.Debug("task "+state, "task", j.id.String())
	if f := w.app.cfg.Hooks.TaskChanged; f != nil {
		e := TaskEvent{Task: j.id, Worker: w.index, State: state}
		w.app.hooks.add(func() { f(e) })
	}
}
