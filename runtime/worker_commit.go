package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thalweg/internal/defect"
	"thalweg/internal/kclient"
	"thalweg/internal/task"
	"thalweg/topology"
)

// due tells that the next commit is.
func (w *worker) due(now time.Time) bool {
	switch {
	case !w.skipped.IsZero() && now.Sub(w.skipped) >= skippedAfter:
		return true
	case w.open.IsZero():
		return false
	case now.Sub(w.open) >= w.pace.interval(), w.pace.left(w.search.records) == 0, w.search.active():
		return true
	case w.holdsBack() && w.outbox.Crowded():
		return true
	case int64(w.dirty) >= w.app.home.memory.checkpointBytes():
		return true
	}
	for _, j := range w.touched {
		if j.tx.CacheFull() {
			return true
		}
	}
	return false
}

// commit makes everything durable that was processed since the last one, together.
func (w *worker) commit(ctx context.Context, now time.Time) error {
	if ctx.Err() != nil { // a call may have come back after the time to close was over
		return context.Cause(ctx)
	}
	w.holds()
	if err := w.ready(ctx); err != nil {
		return err
	}
	w.doing(&doingCommit)
	if w.app.cfg.Guarantee == ExactlyOnce {
		if err := w.writeTimes(now); err != nil {
			return err
		}
	}
	out := w.outbox.Take()
	if defect.OffsetWithoutOutput && w.counts.Commits%5 == 4 {
		out = nil
	}
	if err := w.send(ctx, out); err != nil {
		return err
	}
	if err := w.note(ctx, unnoted); err != nil {
		return err
	}
	if err := w.conclude(ctx); err != nil {
		return err
	}
	w.recycle()
	if len(w.offsets) > 0 { // the group has taken them, so the tasks are this worker's
		w.markSynced(now)
	}
	for _, j := range w.touched {
		if err := j.task.Advance(j.position(w.acked)); err != nil {
			return fmt.Errorf("task %s: %w", j.id, err)
		}
		w.called(j)
		w.fallBehind(j)
	}
	w.notePurge()
	w.lighten()
	w.committed(now)
	if err := w.relieve(); err != nil {
		return err
	}
	if now.Sub(w.resized) >= w.client.MetadataAge() {
		w.resizeOutlets(ctx, now)
	}
	return w.note(ctx, announced)
}

// ready brings out what the tasks owe, and gathers what the commit says of them: the offsets of their inputs, and the
// times of their operators. Nothing is sent meanwhile where calls are long, unless it takes too much memory.
func (w *worker) ready(ctx context.Context) error {
	began := w.app.cfg.Clock()
	w.sending = 0
	w.offsets, w.times = w.offsets[:0], w.times[:0]
	defer func() {
		took := w.app.cfg.Clock().Sub(began) - w.sending
		w.took(took)
		w.pace.flushed(w.search.records, took)
	}()
	for _, j := range w.toCommit() {
		w.doing(&j.flushing)
		ready, err := j.task.Ready()
		if err != nil {
			return err
		}
		for _, o := range ready.Offsets {
			w.offsets = append(w.offsets, groupOffset(o))
		}
		for _, t := range ready.Times {
			w.times = append(w.times, timed{j.id.Partition, t})
		}
		if w.holdsBack() && !w.outbox.Crowded() {
			continue
		}
		if err := w.send(ctx, w.outbox.Full()); err != nil {
			return err
		}
	}
	return nil
}

// groupOffset is an offset as the group takes it.
func groupOffset(o task.Offset) kclient.Offset {
	return kclient.Offset{
		TopicPartition: kclient.TopicPartition{Topic: o.Topic, Partition: o.Partition},
		Next:           o.Next, LeaderEpoch: -1, Metadata: o.Metadata,
	}
}

// conclude ends the transaction, or commits the offsets after everything is produced.
func (w *worker) conclude(ctx context.Context) error {
	if w.app.cfg.Guarantee == AtLeastOnce {
		if err := w.produceTimes(ctx); err != nil {
			return err
		}
		return w.client.CommitOffsets(ctx, w.offsets)
	}
	offsets := w.offsets
	if defect.OutputWithoutOffset {
		offsets = nil
	}
	sent := make(chan error, 1) // the two round trips run side by side
	go func() { sent <- w.client.SendOffsets(ctx, offsets) }()
	err := worse(w.client.Flush(ctx), <-sent)
	if err != nil {
		return err
	}
	return w.client.EndTxn(ctx, true)
}

// worse is the error that asks for more.
func worse(a, b error) error {
	if a == nil || (b != nil && kclient.ClassOf(b) > kclient.ClassOf(a)) {
		return b
	}
	return a
}

// notePurge lets the records of repartition topics go whose work is committed.
func (w *worker) notePurge() {
	var done map[kclient.TopicPartition]int64
	for _, o := range w.offsets {
		if w.app.layout().repartitions[o.Topic] {
			if done == nil {
				done = make(map[kclient.TopicPartition]int64, len(w.offsets))
			}
			done[o.TopicPartition] = o.Next
		}
	}
	if done != nil {
		w.app.purgeLater(done)
	}
}

func (w *worker) committed(now time.Time) {
	clear(w.acked)
	w.search.committed(now)
	w.long = max(w.long-1, 0)
	w.pace.committed(2*w.waited < now.Sub(w.rested)) // it was busy for most of the time since the last commit
	w.rested, w.waited = w.app.cfg.Clock(), 0
	w.counts.CommitTime += w.rested.Sub(now)
	w.open, w.skipped, w.failures = time.Time{}, time.Time{}, 0
	if w.unchecked.IsZero() {
		w.unchecked = now
	}
	w.counts.Commits++
	w.counts.LastCommit = now
	w.publish(now, false)
}

// checkpoint writes what is committed to the engine, so that it neither waits in memory for too long nor hides from
// queries.
func (w *worker) checkpoint(now time.Time) error {
	if w.unchecked.IsZero() || now.Sub(w.unchecked) < w.app.cfg.CheckpointEvery {
		return nil
	}
	return w.checkpointAll()
}

func (w *worker) checkpointAll() error {
	w.unchecked = time.Time{}
	for n := len(w.behind) - 1; n >= 0; n-- {
		j := w.behind[n]
		if err := j.tx.Checkpoint(); err != nil {
			return fmt.Errorf("task %s: checkpoint: %w", j.id, err)
		}
		if err := j.noteExpired(w.app); err != nil {
			return err
		}
		j.behind = false
		w.behind[n], w.behind = nil, w.behind[:n]
	}
	return nil
}

// The pause after a failure: the first comes at once, the following ones ever later.
const (
	healLeast = 20 * time.Millisecond
	healMost  = 5 * time.Second
)

// heal decides what an error means: back to the last commit and on, or the end. An error that it returns is the end.
func (w *worker) heal(ctx context.Context, stop <-chan struct{}, cause error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), cause)
	}
	class := classOf(cause)
	afterwards, refused := w.isolate(cause)
	if refused {
		class = kclient.Abort
	}
	for class == kclient.Abort || class == kclient.Fenced {
		w.counts.Rewinds++
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
		return errors.Join(cause, fmt.Errorf("dead letter: %w", err))
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

// bury writes the dead letter of the record that stops the application, in a transaction of its own: that of the
// record is aborted. With the letter goes an offset of the task, which does not move: the group refuses it where the
// task is somebody else's by now, who writes the letter, too.
func (w *worker) bury(ctx context.Context) error {
	for _, j := range w.running {
		l, ok := j.task.DeadLetter()
		if !ok {
			continue
		}
		w.outbox.Discard()
		ctx, cancel := context.WithTimeout(ctx, abandonMost)
		defer cancel()
		w.offsets, w.times = w.offsets[:0], w.times[:0]
		if o, ok := j.task.Fence(); ok {
			w.offsets = append(w.offsets, groupOffset(o))
		}
		if w.app.cfg.Guarantee == AtLeastOnce { // nothing takes back what is produced
			if err := w.client.CommitOffsets(ctx, w.offsets); err != nil {
				return err
			}
			w.offsets = w.offsets[:0]
		}
		if err := l.Send(w.outbox); err != nil {
			return err
		}
		err := w.send(ctx, w.outbox.Take())
		if err == nil {
			err = w.conclude(ctx)
		}
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
	w.outbox.Discard()
	w.times = w.times[:0]
	w.recycle()
	w.lighten()
	clear(w.acked)
	w.open, w.skipped = time.Time{}, time.Time{}
	w.search.discarded()
	if err != nil {
		return err
	}
	w.resizeOutlets(ctx, w.app.cfg.Clock()) // a partition that is gone may be why it is here
	if class == kclient.Fenced {
		for _, j := range w.sortedJobs() {
			if err := w.closeJob(j, nil); err != nil {
				return err
			}
		}
		return nil
	}
	for _, j := range w.running {
		if !j.task.Untouched() {
			if err := j.task.Discard(); err != nil {
				return fmt.Errorf("task %s: %w", j.id, err)
			}
			for _, in := range j.inputs {
				w.fetchFrom(in)
			}
		}
		w.refigure(j)
		w.called(j)
		w.wakeTask(j)                     // a pause begins with a turn
		w.noteMoved(j, w.app.cfg.Clock()) // where it started may not be committed yet
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
	if w.open.IsZero() && w.skipped.IsZero() {
		w.confirm(ctx, w.app.cfg.Clock())
		return nil
	}
	err := w.commit(ctx, w.app.cfg.Clock())
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
	w.leave()
	w.deadline.timer.Stop()
	var errs []error
	for _, j := range w.sortedJobs() {
		errs = append(errs, safely(func() error { return w.closeJob(j, nil) }))
	}
	w.doing(&doingLeave)
	w.client.Close()
	w.app.home.memory.produced.Use(-w.unacked)
	w.publish(w.app.cfg.Clock(), true)
	return joined(errs...)
}
