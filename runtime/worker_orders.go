package runtime

import (
	"context"
	"slices"

	"thalweg/internal/kclient"
)

// obey carries out what the dispatcher has ordered: tasks that are lost go before those that are given back, and these
// before those to open. What is to go on goes on before it is taken back again. took tells whether there was something.
func (w *worker) obey(ctx context.Context, stop <-chan struct{}) (took bool, err error) {
	given := w.inbox.take()
	for _, id := range w.orders.add(given) {
		w.notices.report(taskClosed, id, nil)
	}
	if err := w.lose(ctx); err != nil {
		return true, err // the tasks are this worker's until its transaction is known to have ended
	}
	w.orders.drops = w.orders.drops[:0]
	for _, id := range w.orders.resumes {
		if j := w.jobs.of[id]; j != nil && j.suspended { // else it was closed meanwhile, and is opened again
			if err := w.resume(j); err != nil {
				return true, err
			}
		}
	}
	w.orders.resumes = w.orders.resumes[:0]
	if len(w.orders.releases)+len(w.orders.suspends) > 0 {
		closing, resting := w.orders.releases, w.orders.suspends
		w.orders.releases, w.orders.suspends = nil, nil
		if err := w.revoke(ctx, stop, closing, resting); err != nil {
			return true, err
		}
	}
	if w.orders.retire {
		return true, errStop
	}
	return len(given) > 0, nil
}

// lose gives up tasks that are somebody else's already. The transaction can't be committed: the worker goes back with
// all its tasks.
func (w *worker) lose(ctx context.Context) error {
	if !slices.ContainsFunc(w.orders.drops, func(id TaskID) bool { return w.jobs.of[id] != nil }) {
		return nil
	}
	if w.commits.cut() { // it was made before they were lost
		if err := w.commits.complete(ctx); err != nil {
			return err
		}
	}
	return w.rewind(ctx, kclient.Fenced)
}

// revoke commits, and gives tasks up in a state in which others can go on: those in closing are closed, and those in
// resting are suspended. Their local state stays on disk.
func (w *worker) revoke(ctx context.Context, stop <-chan struct{}, closing, resting []TaskID) error {
	now := w.app.cfg.Clock()
	switch {
	case !w.works(closing) && !w.works(resting):
	case !w.commits.pending():
		w.proofs.confirm(ctx, now)
	default:
		if err := w.commits.commitRest(ctx, now); err != nil {
			if err := w.heal(ctx, stop, err); err != nil {
				return err
			}
		}
	}
	for _, id := range resting {
		if j := w.jobs.of[id]; j != nil && w.jobs.runs(j) { // else it was closed meanwhile, which is reported already
			if err := w.suspend(j); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, id := range closing {
		if j := w.jobs.of[id]; j != nil {
			errs = append(errs, w.closeJob(j, nil))
		}
	}
	return joined(errs...)
}

// works tells whether one of the tasks may have something to commit.
func (w *worker) works(ids []TaskID) bool {
	return slices.ContainsFunc(ids, func(id TaskID) bool { return w.jobs.of[id] != nil && !w.jobs.of[id].suspended })
}
