package runtime

import (
	"context"
	"errors"
	"fmt"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
	"thalweg/topology"
)

// heal decides what an error means: back to the last commit and on, or the end. An error that it returns is the end.
func (w *worker) heal(ctx context.Context, stop <-chan struct{}, cause error) error {
	cause = w.commits.settled(ctx, cause)
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), cause)
	}
	class := classOf(cause)
	afterwards, refused := w.search.isolate(cause)
	if refused {
		class = kclient.Abort
	}
	for class == kclient.Abort || class == kclient.Fenced {
		w.figures.counts.Rewinds++
		w.notices.rewound(cause)
		if b, ok := errors.AsType[*task.Blocked](cause); ok {
			w.warnings.blocked(b) // it waits by itself: no back-off for the others
		} else if r, ok := errors.AsType[*task.Replay](cause); ok {
			w.log.Warn("a row or a result can't be written: going over the records since the last commit again, one by one",
				"task", r.Task.String(), "err", r.Err)
		} else if !refused { // the search has said it
			w.log.Warn("going back to the last commit", "class", class.String(), "err", cause)
			if err := w.backOff.failed(ctx, stop); err != nil {
				return err
			}
		}
		w.liveness.doing(&doingRewind)
		err := w.rewind(ctx, class)
		if err == nil && afterwards != nil && class == kclient.Abort {
			err = afterwards()
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		cause, class, refused = err, kclient.ClassOf(err), false
		if class == kclient.Abort { // an abort that failed leaves nothing but to start over
			class = kclient.Fenced
		}
	}
	w.commits.abandon(ctx)
	if err := w.commits.bury(ctx); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// classOf says what an error asks for: user code that failed ends the worker, unless its record is to be processed
// again, and so does a broken engine or framework.
func classOf(cause error) kclient.Class {
	if _, ok := errors.AsType[*task.Blocked](cause); ok {
		return kclient.Abort
	}
	if _, ok := errors.AsType[*task.Replay](cause); ok {
		return kclient.Abort
	}
	if _, user := errors.AsType[*topology.ProcessingError](cause); user || topology.Broken(cause) {
		return kclient.Fatal
	}
	return kclient.ClassOf(cause)
}

// rewind drops what is not committed. Fenced, or when the outcome of a commit is unknown, it drops the tasks, too, and
// opens them again with what the group has committed.
func (w *worker) rewind(ctx context.Context, class kclient.Class) error {
	var err error
	switch {
	case class == kclient.Fenced || w.app.cfg.Guarantee == AtLeastOnce:
		err = w.client.InitProducer(ctx)
	default:
		err = w.client.EndTxn(ctx, false)
	}
	w.commits.discard()
	if err != nil {
		return err
	}
	w.commits.resizeOutlets(ctx, w.app.cfg.Clock()) // a partition that is gone may be why it is here
	if class == kclient.Fenced {
		for _, j := range w.jobs.sorted() {
			if err := w.closeJob(j, nil); err != nil {
				return err
			}
		}
		return nil
	}
	for _, j := range w.jobs.running {
		if !j.task.Untouched() {
			if err := j.task.Discard(); err != nil {
				return fmt.Errorf("task %s: %w", j.id, err)
			}
			for _, in := range j.inputs {
				w.inputs.fetchFrom(in)
			}
		}
		w.figures.note(j)
		w.turns.called(j)
		w.turns.wake(j)                           // a pause begins with a turn
		w.commits.noteMoved(j, w.app.cfg.Clock()) // where it started may not be committed yet
	}
	return nil
}

// finish is the graceful end: everything processed is committed.
func (w *worker) finish(ctx context.Context) error {
	if !w.commits.pending() {
		w.proofs.confirm(ctx, w.app.cfg.Clock())
		return nil
	}
	err := w.commits.commitRest(ctx, w.app.cfg.Clock())
	if err == nil {
		return nil
	}
	w.commits.abandon(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if class := classOf(err); class == kclient.Abort || class == kclient.Fenced || class == kclient.Canceled {
		w.log.Warn("the last commit failed: its records are processed again at the next start", "err", err)
		return nil
	}
	return err
}

// close ends the worker. What is not committed is dropped.
func (w *worker) close() error {
	w.commits.cut()
	w.processing.visit.leave()
	w.deadline.timer.Stop()
	var errs []error
	for _, j := range w.jobs.sorted() {
		errs = append(errs, safely(func() error { return w.closeJob(j, nil) }))
	}
	w.liveness.doing(&doingLeave)
	w.client.Close()
	w.memory.leave()
	w.publish(w.app.cfg.Clock(), true)
	return joined(errs...)
}
