package runtime

import (
	"context"
	"time"
)

// retry processes the first record whose wait is over. What was processed before is committed first.
func (w *worker) retry(ctx context.Context, now time.Time) (processed bool, err error) {
	if w.app.paused.Load() {
		return false, nil
	}
	wall := now.UnixMilli()
	j := w.turns.toRetry(wall)
	if j == nil {
		return false, nil
	}
	if err := w.commits.settle(ctx); err != nil {
		return false, err
	}
	if w.commits.unsealed() || j.task.Pending() {
		if err := w.commits.commit(ctx, now); err != nil {
			return false, err
		}
	}
	w.commits.touched.add(j)
	w.doing(&j.processing)
	processed, err = j.task.Retry(wall)
	w.turns.called(j)
	w.turns.wake(j)
	if processed {
		w.search.processed(j, 1, true)
		w.commits.worked(now)
	}
	return processed, err
}
