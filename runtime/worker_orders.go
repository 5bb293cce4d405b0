package runtime

import (
	"context"
	"slices"

	"thalweg/internal/kclient"
	"thalweg/internal/tasks"
)

// obey carries out what the dispatcher has ordered: tasks that are lost go before those that are given back, and these
// before those to open. What is to go on goes on before it is taken back again. took tells whether there was something.
func (w *worker) obey(ctx context.Context, stop <-chan struct{}) (took bool, err error) {
	orders := w.inbox.take()
	for _, o := range orders {
		_, unopened := w.opens[o.task]
		switch {
		case o.retire:
			w.retiring = true
		case o.kind == tasks.Open:
			w.opens[o.task] = o.lease
		case unopened:
			w.decline(o.task, nil)
		case o.kind == tasks.Drop:
			w.drops = append(w.drops, o.task)
		case o.kind == tasks.Resume:
			w.suspensions.resume = append(w.suspensions.resume, o.task)
		case o.kind == tasks.Suspend:
			w.suspensions.suspend = append(w.suspensions.suspend, o.task)
		default:
			w.releases = append(w.releases, o.task)
		}
	}
	if len(w.drops) > 0 {
		if err := w.lose(ctx); err != nil {
			return true, err // the tasks are this worker's until its transaction is known to have ended
		}
		w.drops = w.drops[:0]
	}
	w.suspensions.resumeAll()
	if len(w.releases)+len(w.suspensions.suspend) > 0 {
		ids := w.releases
		w.releases = nil
		if err := w.revoke(ctx, stop, ids); err != nil {
			return true, err
		}
	}
	if w.retiring {
		return true, errStop
	}
	return len(orders) > 0, nil
}

// decline reports that a task is not opened.
func (w *worker) decline(id TaskID, why error) {
	delete(w.opens, id)
	w.notices.report(taskClosed, id, why)
}

// lose gives up tasks that are somebody else's already. The transaction can't be committed: the worker goes back with
// all its tasks.
func (w *worker) lose(ctx context.Context) error {
	if !slices.ContainsFunc(w.drops, func(id TaskID) bool { return w.jobs.of[id] != nil }) {
		return nil
	}
	if w.commits.cut() { // it was made before they were lost
		if err := w.commits.complete(ctx); err != nil {
			return err
		}
	}
	return w.rewind(ctx, kclient.Fenced)
}

func (w *worker) closeTasks(ids []TaskID) error {
	var errs []error
	for _, id := range ids {
		if j := w.jobs.of[id]; j != nil {
			errs = append(errs, w.closeJob(j, nil))
		}
	}
	return joined(errs...)
}
