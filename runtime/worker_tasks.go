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
	w.liveness.doing(&doingOpen)
	ids := slices.SortedFunc(maps.Keys(w.orders.opens), compareTaskIDs)
	lease := w.orders.opens[ids[0]]
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
		delete(w.orders.opens, id)
	}
	return nil
}

// giveBack undoes what was begun with tasks that neither run nor are restored: they are opened again later.
func (w *worker) giveBack(ids []TaskID, why error) (err error) {
	for _, id := range ids {
		j := w.jobs.of[id]
		switch {
		case j == nil:
			w.notices.report(taskClosed, id, why)
		case j.restoring == nil && !j.suspended && !w.jobs.runs(j):
			err = joined(err, w.closeJob(j, why))
		}
		delete(w.orders.opens, id)
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
	o := &opening{
		app: w.app, client: w.client, log: w.log, ids: ids, now: now,
		outbox: w.outbox, warnings: w.warnings, cut: &w.deadline.passed,
	}
	if err := o.look(ctx); err != nil {
		return err
	}
	var opened []*job
	for _, id := range ids {
		j, err := o.openJob(id)
		if err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
		w.jobs.add(j)
		w.inputs.open(j)
		w.figures.note(j)
		opened = append(opened, j)
	}
	return w.begin(opened, &o.positions)
}

// begin lets opened tasks run. Those that lack something are restored before.
func (w *worker) begin(opened []*job, p *positions) error {
	for _, j := range opened {
		lacking := w.restores.lacking(j, p)
		if len(lacking) == 0 {
			if err := w.start(j); err != nil {
				return err
			}
			continue
		}
		if err := w.restores.begin(j, lacking); err != nil {
			return err
		}
		w.figures.note(j)
		w.notices.changed(j.id, "restoring")
	}
	return nil
}

// takeRestored starts the tasks that are restored.
func (w *worker) takeRestored() error {
	if w.restores.ended.Swap(0) == 0 {
		return nil
	}
	for _, j := range w.jobs.sorted() {
		if r := j.restoring; r == nil || !r.over() {
			continue
		}
		if err := w.takeBack(j); err != nil {
			w.restores.ended.Add(1) // others may be restored, too, and have reported it
			return err
		}
	}
	return nil
}

// takeBack starts a task that is restored. One that could not be restored is closed, and opened again after a pause.
func (w *worker) takeBack(j *job) error {
	r := j.restoring
	j.restoring = nil
	if r.err != nil {
		return joined(r.err, w.closeJob(j, r.err))
	}
	for _, s := range r.stores {
		j.positions[s.Store] = s.Position
	}
	return w.start(j)
}

// start lets a task take records. What was restored goes to the engine first: views count the task's partition as here
// from now on, and no commit may follow for a long time.
func (w *worker) start(j *job) error {
	w.liveness.doing(&activity{what: "starting task " + j.id.String()})
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
	w.notices.report(taskRuns, j.id, nil)
	w.notices.changed(j.id, "running")
	return nil
}

// closeJob drops what the task has not committed and keeps the rest on disk. why is the error of a task that can't be
// opened.
func (w *worker) closeJob(j *job, why error) error {
	w.liveness.doing(&activity{what: "closing task " + j.id.String()})
	w.inputs.close(j)
	w.restores.cancel(j)
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
	w.notices.report(taskClosed, j.id, why)
	w.notices.changed(j.id, "closed")
	return err
}
