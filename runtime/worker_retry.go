package runtime

import (
	"context"
	"time"

	"thalweg/internal/task"
	"thalweg/topology"
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

// noteBlocked logs a failure after which the record is processed again.
func (w *worker) noteBlocked(b *task.Blocked) {
	if b.Topic == "" {
		w.log.Warn("a commit or a punctuation failed, its task waits", "task", b.Task.String(),
			"attempt", b.Attempt, "attempts", b.Attempts, "wait", b.Wait, "err", b.Err)
		return
	}
	w.log.Warn("a record failed, its partition waits", "topic", b.Topic, "partition", b.Partition, "offset", b.Offset,
		"attempt", b.Attempt, "attempts", b.Attempts, "wait", b.Wait, "err", b.Err)
}

// gaveUp logs that the last attempt of a record failed, too, and that the record is dropped.
func (w *worker) gaveUp(e *topology.ProcessingError, d topology.Decision) {
	w.log.Error("a record failed for the last time and is dropped", "topic", e.Metadata.Topic,
		"partition", e.Metadata.Partition, "offset", e.Metadata.Offset, "attempts", e.Attempts, "then", d.String(),
		"err", e)
}
