package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
	"thalweg/topology"
)

// The pause after a failure: the first comes at once, the following ones ever later.
const (
	healLeast = 20 * time.Millisecond
	healMost  = 5 * time.Second
)

// heal decides what an error means: back to the last commit and on, or the end. An error that it returns is the end.
func (w *worker) heal(ctx context.Context, stop <-chan struct{}, cause error) error {
	cause = w.settled(ctx, cause)
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), cause)
	}
	class := classOf(cause)
	afterwards, refused := w.isolate(cause)
	if refused {
		class = kclient.Abort
	}
	for class == kclient.Abort || class == kclient.Fenced {
		w.figures.counts.Rewinds++
		if f := w.app.cfg.Hooks.Rewound; f != nil {
			index, err := w.index, cause
			w.app.hooks.add(func() { f(index, err) })
		}
		if b, ok := errors.AsType[*task.Blocked](cause); ok {
			w.noteBlocked(b) // it waits by itself: no back-off for the others
		} else if r, ok := errors.AsType[*task.Replay](cause); ok {
			w.log.Warn("a row or a result can't be written: going over the records since the last commit again, one by one",
				"task", r.Task.String(), "err", r.Err)
		} else if !refused { // the search has said it
			w.log.Warn("going back to the last commit", "class", class.String(), "err", cause)
			w.failures++
			if err := w.backOff(ctx, stop); err != nil {
				return err
			}
		}
		w.doing(&doingRewind)
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
	w.abandon(ctx)
	if err := w.bury(ctx); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// settled waits for the end of a commit under way, to which an error of later work means nothing: it may be made. If it
// fails, too, the error that asks for more counts.
func (w *worker) settled(ctx context.Context, cause error) error {
	err := w.commits.settle(ctx)
	if err == nil {
		return cause
	}
	dropped := err
	if classOf(err) > classOf(cause) {
		cause, dropped = err, cause
	}
	if ctx.Err() == nil {
		w.log.Warn("a commit and later work have failed", "err", cause, "beside", dropped)
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

// bury writes the dead letter of the record that stops the application.
func (w *worker) bury(ctx context.Context) error {
	for _, j := range w.jobs.running {
		l, ok := j.task.DeadLetter()
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, abandonMost)
		defer cancel()
		err := w.commits.bury(ctx, j, l)
		if err != nil {
			w.abandon(ctx)
		}
		return err
	}
	return nil
}

// backOff sleeps before another try when the last ones failed, too.
func (w *worker) backOff(ctx context.Context, stop <-chan struct{}) error {
	if w.failures <= 1 {
		return nil
	}
	pause := min(healLeast<<min(w.failures-2, 10), healMost)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-stop:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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

// abandon aborts the transaction at the end of a worker that failed, so that its successor need not wait for the
// transaction's timeout.
func (w *worker) abandon(ctx context.Context) {
	if w.app.cfg.Guarantee != ExactlyOnce {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, abandonMost)
	defer cancel()
	if err := w.client.EndTxn(ctx, false); err != nil {
		w.log.Warn("can't abort the transaction: it ends by its timeout", "err", err)
	}
}

// abandonMost bounds what a failing worker spends on its last request.
const abandonMost = 5 * time.Second

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
	w.abandon(ctx)
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
	w.leave()
	w.deadline.timer.Stop()
	var errs []error
	for _, j := range w.jobs.sorted() {
		errs = append(errs, safely(func() error { return w.closeJob(j, nil) }))
	}
	w.doing(&doingLeave)
	w.client.Close()
	w.memory.leave()
	w.publish(w.app.cfg.Clock(), true)
	return joined(errs...)
}
