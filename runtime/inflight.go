package runtime

import (
	"context"
	"fmt"
	"slices"
	"time"

	"thalweg/internal/defect"
	"thalweg/internal/kclient"
)

// inFlight is a commit under way. Its goroutine has offsets, times and batches for itself until it has ended.
type inFlight struct {
	began   time.Time // when it was sealed
	jobs    []*job    // that are a part of it
	offsets []kclient.Offset
	times   []timed
	batches
	cancel context.CancelFunc
	done   chan struct{} // closed: it has ended; nil: none is under way
	err    error         // then: how
}

// launch sends what is sealed on its way. The end of the commit ends the worker's turn, too.
func (c *committer) launch(ctx context.Context) {
	f := &c.flight
	ctx, f.cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	f.done, f.err, c.underWay = done, nil, true
	go func() {
		f.err = safely(func() error { return c.run(ctx) })
		close(done)
		c.w.deadline.passed.Store(true)
	}()
}

// run produces what is sealed, and ends the transaction, or commits the offsets after everything is produced.
func (c *committer) run(ctx context.Context) error {
	w, f := c.w, &c.flight
	if w.app.cfg.Guarantee == AtLeastOnce {
		if err := f.produce(ctx, w.client); err != nil {
			return err
		}
		if err := c.produceTimes(ctx); err != nil {
			return err
		}
		return w.client.CommitOffsets(ctx, f.offsets)
	}
	offsets := f.offsets
	if defect.OutputWithoutOffset {
		offsets = nil
	}
	sent := make(chan error, 1) // the two round trips run side by side
	go func() { sent <- w.client.SendOffsets(ctx, offsets) }()
	err := f.produce(ctx, w.client)
	if err == nil {
		err = w.client.Flush(ctx)
	}
	if err := worse(err, <-sent); err != nil {
		return err
	}
	return w.client.EndTxn(ctx, true)
}

// produceTimes writes the times before the offsets are committed, outside of a transaction. All that was produced is
// acknowledged first: a time that is ahead of an operator's rows would make records late that are in none of them. A
// worker whose tasks are somebody else's by now writes none.
func (c *committer) produceTimes(ctx context.Context) error {
	client, f := c.w.client, &c.flight
	if len(f.times) == 0 {
		return client.Flush(ctx)
	}
	confirmed := make(chan error, 1) // beside what the broker writes
	go func() { confirmed <- client.ConfirmMember(ctx) }()
	if err := worse(client.Flush(ctx), <-confirmed); err != nil {
		return err
	}
	if err := c.writeTimes(c.times, c.w.app.cfg.Clock()); err != nil {
		return err
	}
	f.takes(c.times.Take())
	if err := f.produce(ctx, client); err != nil {
		return err
	}
	return client.Flush(ctx)
}

// worse is the error that asks for more.
func worse(a, b error) error {
	if a == nil || (b != nil && kclient.ClassOf(b) > kclient.ClassOf(a)) {
		return b
	}
	return a
}

// forgetAll ends the part of tasks in the commit: it is made, or discarded.
func (f *inFlight) forgetAll() {
	for _, j := range f.jobs {
		j.sealed = false
	}
	clear(f.jobs)
	f.jobs = f.jobs[:0]
}

// forget takes out a task that is closed.
func (f *inFlight) forget(j *job) {
	if j.sealed {
		j.sealed = false
		f.jobs = slices.DeleteFunc(f.jobs, func(o *job) bool { return o == j })
	}
}

// hasEnded tells that a commit has ended of which nobody has taken notice yet.
func (f *inFlight) hasEnded() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// asks are those who want a checkpoint. They want what the broker has by now, so a commit under way has to end first.
func (c *committer) asks() <-chan chan error {
	if c.underWay {
		return nil
	}
	return c.w.asks
}

// poll takes notice of a commit that has ended.
func (c *committer) poll(ctx context.Context) error {
	if c.flight.hasEnded() {
		return c.settle(ctx)
	}
	return nil
}

// settle waits for the end of the commit under way. Its error is that of the commit: then [committer.discard] follows.
func (c *committer) settle(ctx context.Context) error {
	if !c.underWay {
		return nil
	}
	c.w.liveness.doing(&doingCommit)
	began := c.w.app.cfg.Clock()
	err := c.await()
	c.rested = c.rested.Add(c.w.app.cfg.Clock().Sub(began)) // nothing could be done meanwhile
	if err != nil {
		return err
	}
	return c.complete(ctx)
}

// settled waits for the end of a commit under way, to which an error of later work means nothing: it may be made. If it
// fails, too, the error that asks for more counts.
func (c *committer) settled(ctx context.Context, cause error) error {
	err := c.settle(ctx)
	if err == nil {
		return cause
	}
	dropped := err
	if classOf(err) > classOf(cause) {
		cause, dropped = err, cause
	}
	if ctx.Err() == nil {
		c.w.log.Warn("a commit and later work have failed", "err", cause, "beside", dropped)
	}
	return cause
}

// await waits for the end of the commit under way. Its requests end with the context that it was begun with.
func (c *committer) await() error {
	<-c.flight.done
	c.flight.cancel()
	c.underWay, c.flight.done = false, nil
	return c.flight.err
}

// cut cuts a commit under way short whose outcome nobody waits for. It may have been made all the same.
func (c *committer) cut() (made bool) {
	if !c.underWay {
		return false
	}
	c.flight.cancel()
	return c.await() == nil
}

// complete ends a commit that is durable.
func (c *committer) complete(ctx context.Context) error {
	w, f := c.w, &c.flight
	c.recycle()
	if len(f.offsets) > 0 { // the group has taken them, so the tasks are this worker's
		w.proofs.proven(f.began, f.jobs)
	}
	for _, j := range f.jobs {
		if err := j.task.Advance(j.position(c.acked)); err != nil {
			return fmt.Errorf("task %s: %w", j.id, err)
		}
		w.turns.called(j)
		w.checkpoints.add(j)
	}
	c.notePurge()
	f.forgetAll()
	clear(c.acked)
	c.count()
	if err := w.memory.relieve(w.jobs.running); err != nil {
		return err
	}
	return c.note(ctx, announced)
}

// count counts the commit that has ended.
func (c *committer) count() {
	w, began, now := c.w, c.flight.began, c.w.app.cfg.Clock()
	w.search.committed(began)
	w.slow.committed()
	w.backOff.committed()
	w.checkpoints.committed(began)
	w.figures.committed(began, now)
	w.app.aligner.committed()
	w.publish(now, false)
}

// notePurge lets the records of repartition topics go whose work is committed.
func (c *committer) notePurge() {
	var done map[kclient.TopicPartition]int64
	for _, o := range c.flight.offsets {
		if c.w.app.layout().repartitions[o.Topic] {
			if done == nil {
				done = make(map[kclient.TopicPartition]int64, len(c.flight.offsets))
			}
			done[o.TopicPartition] = o.Next
		}
	}
	if done != nil {
		c.w.app.purger.note(done)
	}
}
