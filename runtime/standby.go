package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// standby is the copy of the state of a task that another process runs. The task's rows in the engine are its own from
// the moment it is among standbys.tasks until gone is closed.
type standby struct {
	app      *app
	id       TaskID
	gone     chan struct{} // closed when nothing touches the rows any more
	keep     func()        // lets retention drop the rows again
	task     *task.Task
	tx       *state.Tx
	follower *task.Follower
	logs     []*followed
	bytes    int          // gathered, and not in the engine
	moved    bool         // since the last save
	asked    time.Time    // when the goals were the ends of the logs; zero: they are reached
	tells    int          // how often the group was told that the copy is near enough
	tellAt   time.Time    // not before
	lag      atomic.Int64 // of what the engine has; -1: it is being opened
	position atomic.Int64 // sum of the offsets up to which the stores are read; -1: it is being opened
	lacks    atomic.Int64 // what left was when position was set
}

// followed is a changelog of a standby.
type followed struct {
	*task.Followed
	standby *standby
	end     int64 // that the owner of the task has committed, as far as it is known
	saved   int64 // position in the engine
	goal    int64 // a position that the copy had to reach to be as new as the log was at standby.asked
}

// openStandby finds out where the copy on disk ends, and begins there. A copy that does not fit its changelog is
// dropped; where a worker would refuse to go on, so does this.
func openStandby(ctx context.Context, st *standby) error {
	a := st.app
	st.keep = a.retention.open([]TaskID{st.id})
	now := a.cfg.Clock()
	p, err := st.look(ctx, now)
	if err != nil {
		return err
	}
	st.tx = state.NewTx(a.stateConfig(st.id))
	cfg := task.Config{
		ApplicationID: a.cfg.ApplicationID,
		ID:            task.ID{Subtopology: st.id.Subtopology, Partition: st.id.Partition},
		Subs:          []*topology.Subtopology{a.topo.Subtopologies()[st.id.Subtopology]},
		Tx:            st.tx,
		Outbox: task.NewOutbox(task.OutboxConfig{ // nothing is written
			Partitions: func(string) (int32, error) { return 1, nil }, RecordMaxBytes: a.cfg.Limits.RecordBytesMax,
		}),
		Errors:     a.cfg.Errors,
		PassedOver: st.passedOver,
		Exists:     a.layout().exists,
		MaxIdle:    a.cfg.MaxIdle,
		WallMillis: now.UnixMilli(),
	}
	for tp, o := range p.starts {
		cfg.Start = append(cfg.Start, task.Offset{Topic: tp.Topic, Partition: tp.Partition, Next: o.Next})
	}
	if st.task, err = task.New(cfg); err != nil {
		return err
	}
	if err := setOrigins(st.tx, p.origins[st.id]); err != nil {
		return err
	}
	return st.begin(p, now)
}

// look compares the copy on disk with the changelogs.
func (st *standby) look(ctx context.Context, now time.Time) (*positions, error) {
	a, id := st.app, st.id
	lay := a.layout()
	if id.Partition >= lay.partitions[id.Subtopology] {
		return nil, fmt.Errorf("its inputs did not have partition %d when this process last looked", id.Partition)
	}
	topics, reads := map[string]bool{a.noted.topic: true}, false
	for _, f := range lay.fillingsOf(id) {
		if f.copied() {
			topics[f.topic], reads = true, reads || f.from == state.FromInput
		}
	}
	p := &positions{starts: map[kclient.TopicPartition]kclient.Offset{}}
	var err error
	if p.identity, err = a.control.Topics().Identify(ctx, sortedKeys(topics)...); err != nil {
		return nil, err
	}
	if reads {
		committed, err := a.control.GroupOffsets(ctx, a.cfg.ApplicationID)
		if err != nil {
			return nil, err
		}
		for _, tp := range lay.inputs(a.topo.Subtopologies()[id.Subtopology], id.Partition) {
			p.starts[tp] = kclient.Offset{TopicPartition: tp, Next: committed[tp]}
		}
	}
	if err := askBounds(ctx, a, a.control, []TaskID{id}, p); err != nil {
		return nil, err
	}
	p.origins[id] = map[string]state.Origin{}
	noted := map[progress.Key]*progress.Value{}
	for _, f := range lay.fillingsOf(id) {
		if !f.copied() {
			continue
		}
		l, v, err := judge(a, id, f, p, true, now)
		if err == nil && v.Action == origin.Wipe {
			a.cfg.Logger.Warn(v.Text+": copying all of it", "application", a.cfg.ApplicationID, "task", id.String())
			err = state.EraseSaved(a.home.engine, state.Namespace(id.Partition), f.name)
		}
		if err = errors.Join(err, v.Err()); err != nil {
			return nil, err
		}
		p.origins[id][f.name] = l.Now
		if !l.Saved.Known || v.Action == origin.Wipe {
			a.noted.refill(noted, l, f, p)
		}
	}
	return p, a.noted.write(ctx, noted)
}

// begin starts to follow where the stores are.
func (st *standby) begin(p *positions, now time.Time) error {
	logs, err := st.task.Stores.Changelogs()
	if err != nil {
		return err
	}
	fillings := st.app.layout().fillingsOf(st.id)
	var all []task.Followed
	for _, c := range logs {
		if !slices.ContainsFunc(fillings, func(f filling) bool { return f.name == c.Store && f.copied() }) {
			continue
		}
		first := p.first[logPartition(c)]
		if !c.Known {
			c.Position = first
			st.tx.MarkStoreSynced(c.Store, now)
		}
		c.Position = max(c.Position, first) // below it is the marker of a transaction at most
		l := task.Followed{Changelog: c, End: task.Endless}
		if c.Source { // its records become rows when the task has processed them
			l.End = p.starts[logPartition(c)].Next
		}
		all = append(all, l)
	}
	if st.follower, err = st.task.NewFollower(all); err != nil {
		return err
	}
	for _, l := range st.follower.Logs() {
		end := p.last[logPartition(l.Changelog)]
		if l.Source {
			end = l.End
		}
		st.logs = append(st.logs, &followed{Followed: l, standby: st, end: end, saved: l.Position, goal: end})
	}
	st.asked = now
	st.publish()
	return nil
}

func (st *standby) passedOver(pe *topology.ProcessingError) {
	st.app.cfg.Logger.Warn("a copy of a task's state can't have something that its changelog has: going on behind it, as "+
		"Errors says", "application", st.app.cfg.ApplicationID, "task", st.id.String(), "err", pe)
}

// add takes what was fetched of a changelog.
func (st *standby) add(l *followed, f *kclient.Fetched, bytesMax int) error {
	st.follower.BytesMax = bytesMax
	if err := st.follower.Add(l.Followed, f.Batches, f.Next); err != nil {
		return err
	}
	if !l.Source {
		l.end = max(l.end, f.LastStable)
	}
	st.moved, st.bytes = true, st.follower.Bytes()
	st.publish()
	return nil
}

// commit moves the end of a changelog that is an input of the task to the offset that its owner has committed.
func (st *standby) commit(l *followed, next int64) (more bool, err error) {
	if next <= l.End {
		return false, nil
	}
	if err := st.task.Seek(task.Offset{Topic: l.Topic, Partition: l.Partition, Next: next}); err != nil {
		return false, err
	}
	l.End, l.end = next, next
	st.publish()
	return true, nil
}

// save brings what was read to the engine, together with the positions.
func (st *standby) save() error {
	if !st.asked.IsZero() && !slices.ContainsFunc(st.logs, func(l *followed) bool { return l.Position < l.goal }) {
		st.tx.MarkSynced(st.asked)
		st.asked = time.Time{}
	}
	if err := st.follower.Save(); err != nil {
		return err
	}
	for _, l := range st.logs {
		l.saved = l.Position
	}
	st.moved, st.bytes = false, st.follower.Bytes()
	st.publish()
	return nil
}

// left is how many records the copy lacks.
func (st *standby) left() (sum int64) {
	for _, l := range st.logs {
		sum += max(l.end-l.Position, 0)
	}
	return sum
}

// publish makes available how far the copy is.
func (st *standby) publish() {
	lag, position := int64(0), int64(0)
	for _, l := range st.logs {
		lag, position = lag+max(l.end-l.saved, 0), position+l.Position
	}
	st.lag.Store(lag)
	st.lacks.Store(st.left())
	st.position.Store(position)
}

// close saves what was read, and leaves the rows to others.
func (st *standby) close() error {
	var err error
	if st.follower != nil && st.tx.Failed() == nil {
		err = st.save()
	}
	switch {
	case st.task != nil:
		err = joined(err, st.task.Close())
	case st.tx != nil:
		err = joined(err, st.tx.Close())
	}
	err = joined(err, st.app.balance.noteHeld(st.id))
	if st.keep != nil {
		st.keep()
	}
	return err
}
