package runtime

import (
	"context"
	"fmt"
	"slices"
	"time"

	"thalweg/internal/defect"
	"thalweg/internal/invariant"
	"thalweg/internal/kclient"
	"thalweg/internal/progress"
	"thalweg/internal/task"
	"thalweg/topology"
)

// committer makes durable, together, what the tasks of a worker do. A commit begins by sealing that work. What is
// sealed goes to the broker on a goroutine of its own (inFlight), while the tasks go on: what they do from then on is
// for the next commit, and what they write waits in memory until the transaction under way has ended. So a worker waits
// for a commit only where the next one would take too much memory, or where it has to know how the commit has ended.
// There is one commit under way at most. When it fails, what came after it goes back, too. All of this belongs to the
// worker's goroutine.
type committer struct {
	w       *worker
	touched touched
	open    time.Time // of the first work that is not sealed; zero: there is none
	skipped time.Time // of the first move of an input that is not sealed; zero: there is none
	dirty   int       // bytes of all tasks' stores that are not sealed, about

	underWay bool     // there is a commit under way
	flight   inFlight // the commit under way, or the memory of the last one

	rested   time.Time                        // when the last commit was sealed
	waited   time.Duration                    // since then, for something to do
	sending  time.Duration                    // since the tasks began to bring out what the commit needs
	resized  time.Time                        // the last time that it asked how many partitions the outputs have
	acked    map[kclient.TopicPartition]int64 // next offsets of what was produced since the last commit
	times    *task.Outbox                     // for those of a commit that is under way
	produced []kclient.Item                   // scratch
	batches  batches                          // scratch
	key      []byte                           // scratch
	value    []byte                           // scratch
}

func newCommitter(w *worker) *committer {
	return &committer{w: w, touched: touched{figures: w.figures}, acked: map[kclient.TopicPartition]int64{}}
}

// unsealed tells that there is something for the next commit.
func (c *committer) unsealed() bool { return !c.open.IsZero() || !c.skipped.IsZero() }

// pending tells that something is processed and not committed.
func (c *committer) pending() bool { return c.underWay || c.unsealed() }

// due tells that the next commit is.
func (c *committer) due(now time.Time) bool {
	w := c.w
	switch {
	case c.underWay:
		return false
	case !c.skipped.IsZero() && now.Sub(c.skipped) >= skippedAfter:
		return true
	case c.open.IsZero():
		return false
	case now.Sub(c.open) >= w.pace.interval(), w.search.active():
		return true
	case w.slow.holdBack() && w.outbox.Crowded():
		return true
	}
	return c.limited()
}

// dueAt is when the next commit is, if nothing more is done until then; ok is false where nobody knows: there is
// nothing to commit, or another one has to end before.
func (c *committer) dueAt() (at time.Time, ok bool) {
	if c.underWay || !c.unsealed() {
		return at, false
	}
	if !c.open.IsZero() {
		at = c.open.Add(c.w.pace.interval())
	}
	if skipped := c.skipped.Add(skippedAfter); !c.skipped.IsZero() && (c.open.IsZero() || skipped.Before(at)) {
		at = skipped
	}
	return at, true
}

// limited tells that the next commit has as much as it may have.
func (c *committer) limited() bool {
	w := c.w
	if w.pace.left(w.search.records) == 0 || int64(c.dirty) >= w.app.home.memory.checkpointBytes() {
		return true
	}
	return slices.ContainsFunc(c.touched.jobs, func(j *job) bool { return j.tx.CacheFull() })
}

// blocks tells that tasks can't go on before the commit under way has ended.
func (c *committer) blocks() bool { return c.underWay && (c.w.outbox.Crowded() || c.limited()) }

// turnTime is how long the worker may process now: until the next commit is due, or a little. None is due while one is
// under way, whose end ends the turn.
func (c *committer) turnTime(now time.Time) time.Duration {
	left := c.w.pace.interval()
	if c.underWay {
		left = turnMost
	} else if !c.open.IsZero() {
		left -= now.Sub(c.open)
	}
	return min(left, turnMost)
}

// next begins the commit that is due. The worker waits for its end while a record is searched that the broker refuses,
// since work would only have to be done again, and where calls are long, so that a failure never repeats two of them.
func (c *committer) next(ctx context.Context, now time.Time) error {
	if c.w.search.active() || c.w.slow.holdBack() {
		return c.commit(ctx, now)
	}
	return c.begin(ctx, now)
}

// commit makes everything durable that was processed, and waits for it.
func (c *committer) commit(ctx context.Context, now time.Time) error {
	if err := c.settle(ctx); err != nil {
		return err
	}
	if err := c.begin(ctx, now); err != nil {
		return err
	}
	return c.settle(ctx)
}

// commitRest is commit, which does nothing where everything is committed.
func (c *committer) commitRest(ctx context.Context, now time.Time) error {
	if err := c.settle(ctx); err != nil || !c.unsealed() {
		return err
	}
	return c.commit(ctx, now)
}

// begin seals what was processed since the last commit, and sends it on its way. No commit is under way.
func (c *committer) begin(ctx context.Context, now time.Time) error {
	if ctx.Err() != nil { // a call may have come back after the time to close was over
		return context.Cause(ctx)
	}
	w, f := c.w, &c.flight
	w.holds()
	if err := c.ready(ctx); err != nil {
		return err
	}
	w.liveness.doing(&doingCommit)
	if w.app.cfg.Guarantee == ExactlyOnce {
		if err := c.writeTimes(w.outbox, now); err != nil {
			return err
		}
	}
	f.takes(w.outbox.Take())
	if defect.OffsetWithoutOutput && w.figures.counts.Commits%5 == 4 {
		f.takes(nil)
	}
	if err := c.note(ctx, unnoted); err != nil {
		return err
	}
	c.seal(now)
	c.launch(ctx)
	if now.Sub(c.resized) >= w.client.MetadataAge() { // the outbox is empty
		c.resizeOutlets(ctx, now)
	}
	return nil
}

// ready brings out what the tasks owe, and gathers what the commit says of them: the offsets of their inputs, and the
// times of their operators. Nothing is sent meanwhile where calls are long, unless it takes too much memory.
func (c *committer) ready(ctx context.Context) error {
	w, f := c.w, &c.flight
	began := w.app.cfg.Clock()
	c.sending = 0
	f.offsets, f.times = f.offsets[:0], f.times[:0]
	defer func() {
		took := w.app.cfg.Clock().Sub(began) - c.sending
		w.slow.took(took)
		w.pace.flushed(w.search.records, took)
	}()
	for _, j := range c.touched.sorted() {
		invariant.Check(!j.suspended, "worker %d: commit: task %s is suspended", w.index, j.id)
		w.liveness.doing(&j.flushing)
		ready, err := j.task.Ready()
		if err != nil {
			return err
		}
		for _, o := range ready.Offsets {
			f.offsets = append(f.offsets, groupOffset(o))
		}
		for _, t := range ready.Times {
			f.times = append(f.times, timed{j.id.Partition, t})
		}
		if w.slow.holdBack() && !w.outbox.Crowded() {
			continue
		}
		if err := c.send(ctx, w.outbox.Full()); err != nil {
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

// seal makes what is touched a part of the commit under way. What is touched from now on is for the next one.
func (c *committer) seal(now time.Time) {
	w, f := c.w, &c.flight
	f.began = now
	f.jobs = c.touched.seal(f.jobs)
	for _, j := range f.jobs {
		j.sealed = true
	}
	w.search.seal()
	w.pace.committed(2*c.waited < now.Sub(c.rested)) // it was busy for most of the time since the last commit
	c.rested, c.waited = w.app.cfg.Clock(), 0
	c.open, c.skipped, c.dirty = time.Time{}, time.Time{}, 0
}

// discard is called after what is not committed was dropped: neither is anything sealed.
func (c *committer) discard() {
	invariant.Check(!c.underWay, "worker %d: a commit is under way at a discard", c.w.index)
	c.w.outbox.Discard()
	c.times.Discard()
	c.recycle()
	c.touched.discard(c.flight.jobs)
	c.flight.forgetAll()
	clear(c.acked)
	c.open, c.skipped, c.dirty = time.Time{}, time.Time{}, 0
	c.w.search.discarded()
}

// workedOn notes that a task has something to commit.
func (c *committer) workedOn(j *job, now time.Time) {
	c.worked(now)
	dirty := j.tx.DirtyBytes()
	c.dirty += dirty - j.dirty
	j.dirty = dirty
}

// worked notes that there is something to commit.
func (c *committer) worked(now time.Time) {
	if c.open.IsZero() {
		c.open = now
	}
}

// noteMoved notes that an input moved, though nothing may have been processed.
func (c *committer) noteMoved(j *job, now time.Time) {
	if !j.task.Queues.Moved() {
		return
	}
	c.touched.add(j)
	if c.skipped.IsZero() {
		c.skipped = now
	}
}

// sendFull produces what need not wait for the commit. While one is under way that would become a part of it.
func (c *committer) sendFull(ctx context.Context) error {
	if c.underWay || c.w.slow.holdBack() {
		return nil
	}
	return c.send(ctx, c.w.outbox.Full())
}

// send produces batches: in the open transaction under exactly-once.
func (c *committer) send(ctx context.Context, packets []*task.Packet) error {
	if len(packets) == 0 {
		return nil
	}
	w := c.w
	w.liveness.doing(&doingProduce)
	c.batches.takes(packets)
	began := w.app.cfg.Clock()
	defer func() { c.sending += w.app.cfg.Clock().Sub(began) }()
	return c.batches.produce(ctx, w.client) // what it does not take is left to the collector
}

// recycle takes back what was produced and remembers how far each partition has come.
func (c *committer) recycle() {
	c.produced = c.w.client.TakeProduced(c.produced[:0])
	for i := range c.produced {
		it := &c.produced[i]
		if it.Err == nil && it.Next >= 0 { // without an offset the store keeps its older position: more to restore
			c.acked[it.TopicPartition] = it.Next
		}
		c.w.outbox.Recycle(&task.Packet{Builder: it.Builder})
	}
	clear(c.produced)
}

// writeTimes puts the times of the commit into an outbox.
func (c *committer) writeTimes(to *task.Outbox, now time.Time) error {
	if len(c.flight.times) == 0 {
		return nil
	}
	out, err := to.Outlet(c.w.app.noted.topic)
	if err != nil {
		return err
	}
	for _, t := range c.flight.times {
		key := progress.Key{Kind: progress.Time, Name: t.Name, Partition: t.partition}
		c.key, c.value = progress.AppendKey(c.key[:0], key), c.value[:0]
		var value []byte // null: it is taken back
		if t.At != topology.Unknown {
			c.value = progress.AppendValue(c.value, progress.Value{Time: t.At})
			value = c.value
		}
		if err := out.Append(0, now.UnixMilli(), c.key, value, nil); err != nil {
			return err
		}
	}
	return nil
}

// note writes which topics the offsets of a commit belong to: before the first commit of an input its topic, and after
// it that there was one. For all others there is nothing to write.
func (c *committer) note(ctx context.Context, from mark) error {
	w, offsets := c.w, c.flight.offsets
	var changes map[progress.Key]*progress.Value
	for i := range offsets {
		in := w.inputs.of[offsets[i].TopicPartition]
		if in == nil || in.mark != from {
			continue
		}
		if changes == nil {
			changes = map[progress.Key]*progress.Value{}
		}
		changes[inputKey(in.TopicPartition)] = &progress.Value{
			TopicID: in.topicID, Cluster: in.cluster, Committed: from == announced,
		}
	}
	if changes == nil {
		return nil
	}
	if err := w.app.noted.write(ctx, changes); err != nil {
		return err
	}
	for i := range offsets {
		if in := w.inputs.of[offsets[i].TopicPartition]; in != nil && in.mark == from {
			in.mark++
		}
	}
	return nil
}

// resizeOutlets finds out how many partitions the topics have that the worker writes to. Internal ones never change.
// What can't be found out now can be later: a partition that is gone is an error of the next commit.
func (c *committer) resizeOutlets(ctx context.Context, now time.Time) {
	w := c.w
	c.resized = now
	topics := slices.DeleteFunc(w.outbox.Topics(), w.app.layout().isInternal)
	if len(topics) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resizeMost)
	defer cancel()
	counts, err := w.client.PartitionCounts(ctx, topics...)
	if err != nil {
		w.log.Debug("can't ask for the partitions of outputs", "err", err)
		return
	}
	w.outbox.Resize(counts)
}

// resizeMost bounds the wait for the partition counts of outputs.
const resizeMost = time.Second

// abandon aborts the transaction at the end of a worker that failed, so that its successor need not wait for the
// transaction's timeout.
func (c *committer) abandon(ctx context.Context) {
	w := c.w
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

// bury writes the dead letter of the record that stops the application, if there is one.
func (c *committer) bury(ctx context.Context) error {
	for _, j := range c.w.jobs.running {
		l, ok := j.task.DeadLetter()
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, abandonMost)
		defer cancel()
		err := c.produceLetter(ctx, j, l)
		if err != nil {
			c.abandon(ctx)
		}
		return err
	}
	return nil
}

// produceLetter writes a dead letter whose record stops the application, in a transaction of its own: that of the
// record is aborted. With the letter goes an offset of the task, which does not move: the group refuses it where the
// task is somebody else's by now, who writes the letter, too.
func (c *committer) produceLetter(ctx context.Context, j *job, l task.DeadLetter) error {
	w, f := c.w, &c.flight
	w.outbox.Discard()
	f.offsets, f.times = f.offsets[:0], f.times[:0]
	if o, ok := j.task.Fence(); ok {
		f.offsets = append(f.offsets, groupOffset(o))
	}
	if w.app.cfg.Guarantee == AtLeastOnce { // nothing takes back what is produced
		if err := w.client.CommitOffsets(ctx, f.offsets); err != nil {
			return err
		}
		f.offsets = f.offsets[:0]
	}
	if err := l.Send(w.outbox); err != nil {
		return err
	}
	f.takes(w.outbox.Take())
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	return nil
}
