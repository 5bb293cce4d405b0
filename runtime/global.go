package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"thalweg/internal/link"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// fillBytesMax is about how much of a topic goes into a global store at a time.
const fillBytesMax = 8 << 20

// fill is a global store of this process being filled: by one goroutine, which reads all partitions of its topic for
// as long as the application runs. The rows go to the engine with every fetch, and are read from there by the workers
// and by views. No group knows of it: where it is lies in the engine beside the rows.
type fill struct {
	app     *app
	name    string // of the store
	log     *slog.Logger
	task    *task.Task
	fetcher *link.Fetcher
	behind  map[link.TopicPartition]*Restore // not yet where the partition ended at the start
	full    chan struct{}                    // closed when none is
	usedAt  time.Time                        // of the last note that it is kept up
	scratch task.Stats
	nodes   atomic.Pointer[[]NodeStats] // any goroutine
}

// globalRows reads the global stores of this process; nil: there are none.
func (a *app) globalRows() *state.Reader {
	if len(a.topo.Globals()) == 0 {
		return nil
	}
	return state.NewReader(a.home.engine, state.GlobalNamespace())
}

// openFills opens the global stores and begins to read what they lack.
func (a *app) openFills(ctx context.Context, control *link.Link) ([]*fill, error) {
	var fills []*fill
	for _, s := range a.topo.Globals() {
		f, err := a.openFill(ctx, control, s)
		if err != nil {
			for _, f := range fills {
				err = errors.Join(err, f.close())
			}
			return nil, fmt.Errorf("global store %s: %w", s.Stores[0].Name(), err)
		}
		fills = append(fills, f)
	}
	a.mu.Lock()
	a.fills = fills
	a.mu.Unlock()
	return fills, nil
}

func (a *app) openFill(ctx context.Context, control *link.Link, s *topology.Subtopology) (_ *fill, err error) {
	f := &fill{
		app: a, name: s.Stores[0].Name(), behind: map[link.TopicPartition]*Restore{}, full: make(chan struct{}),
		log: a.cfg.Logger.With("application", a.cfg.ApplicationID, "global store", s.Stores[0].Name()),
	}
	now := a.cfg.Clock()
	tx := state.NewTx(state.Config{
		Engine: a.home.engine, Namespace: state.GlobalNamespace(), Budget: a.home.budget, CheckpointCommits: 1,
	})
	f.task, err = task.New(task.Config{
		ApplicationID: a.cfg.ApplicationID,
		ID:            task.ID{Subtopology: -1},
		Subs:          []*topology.Subtopology{s},
		Tx:            tx,
		Errors:        a.cfg.Errors,
		Partitions:    func(topic string) int32 { return a.layout.globals[topic] },
		MaxIdle:       -1,
		WallMillis:    now.UnixMilli(),
	})
	if err != nil {
		return nil, errors.Join(err, tx.Close())
	}
	if f.fetcher, err = control.OpenFetcher(link.FetcherConfig{BytesMax: fillBytesMax}); err == nil {
		err = f.begin(ctx, control, now)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// begin goes on where the store on disk ends, or starts over where the topic does not have that any more.
func (f *fill) begin(ctx context.Context, control *link.Link, now time.Time) error {
	var tps []link.TopicPartition
	for _, in := range f.task.Inputs() {
		tps = append(tps, link.TopicPartition{Topic: in.Topic, Partition: in.Partition})
	}
	first, err := control.ListOffsets(ctx, tps, link.Earliest, false)
	if err != nil {
		return err
	}
	last, err := control.ListOffsets(ctx, tps, link.Latest, false)
	if err != nil {
		return err
	}
	for i, in := range f.task.Inputs() {
		old := f.app.expired(f.ageName(), in.Topic, now)
		if in.Next == topology.Unknown || in.Next >= first[tps[i]] && in.Next <= last[tps[i]] && !old {
			continue
		}
		f.log.Warn("the store on disk does not fit its topic: filling it anew", "too old", old, "topic", in.Topic,
			"partition", in.Partition, "position", in.Next, "from", first[tps[i]], "to", last[tps[i]])
		if err := f.task.StartOver(); err != nil {
			return err
		}
		break
	}
	for i, in := range f.task.Inputs() {
		tp := tps[i]
		next := in.Next
		if next == topology.Unknown {
			next = first[tp]
			if err := f.task.Seek(task.Offset{Topic: tp.Topic, Partition: tp.Partition, Next: next}); err != nil {
				return err
			}
		}
		f.fetcher.Set(tp, next)
		if next >= last[tp] {
			continue
		}
		r := &Restore{
			Task: TaskID{-1, tp.Partition}, Store: f.name, Topic: tp.Topic, Start: next, Position: next, End: last[tp],
		}
		f.behind[tp] = r
		f.log.Info("filling", "topic", tp.Topic, "partition", tp.Partition, "from", next, "to", r.End)
		f.tell(f.app.cfg.Hooks.RestoreStarted, r)
	}
	return f.task.Restored(nil)
}

// ageName is what the age of the store on disk is noted under.
func (f *fill) ageName() string { return "global " + f.name }

func (f *fill) tell(hook func(Restore), r *Restore) {
	if p := *r; hook != nil {
		f.app.hooks.add(func() { hook(p) })
	}
}

// run follows the topic until stop.
func (f *fill) run(ctx context.Context, stop <-chan struct{}) error {
	timer := time.NewTimer(0) // for processors of the program's own that punctuate
	defer timer.Stop()
	began := f.app.cfg.Clock()
	if len(f.behind) == 0 {
		close(f.full)
	}
	for {
		var fetched []link.Fetched
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case fetched = <-f.fetcher.Fetched():
		case <-timer.C:
		}
		now := f.app.cfg.Clock()
		if err := f.take(fetched, now); err != nil {
			return err
		}
		if _, err := f.task.Punctuate(now.UnixMilli()); err != nil {
			return err
		}
		if err := f.commit(now); err != nil {
			return err
		}
		f.advance(fetched, now.Sub(began))
		wait := time.Hour
		if at, ok := f.task.NextWallPunctuation(); ok {
			wait = max(time.UnixMilli(at).Sub(now), time.Millisecond)
		}
		timer.Reset(min(wait, usedEvery))
	}
}

// take puts what was fetched into the store.
func (f *fill) take(fetched []link.Fetched, now time.Time) error {
	for i := range fetched {
		p := &fetched[i]
		if p.Stale() {
			continue
		}
		if out, ok := errors.AsType[*link.OutOfRangeError](p.Err); ok {
			return fmt.Errorf("%w: the topic was cut at %d while it was followed: the next start fills the store anew",
				p.Err, out.LogStart)
		}
		if p.Err != nil {
			return p.Err
		}
		for _, b := range p.Batches {
			if err := f.task.Add(p.Topic, p.Partition, b); err != nil {
				return err
			}
		}
		if err := f.task.Reached(p.Topic, p.Partition, p.Next, p.LastStable); err != nil {
			return err
		}
	}
	for f.task.Queued() > 0 {
		if _, err := f.task.Step(stepRecords, now.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// commit brings the rows to where everyone sees them.
func (f *fill) commit(now time.Time) error {
	if f.task.Pending() {
		if err := f.task.Flush(); err != nil {
			return err
		}
		if err := f.task.Committed(nil); err != nil {
			return err
		}
		nodes := nodeStats(f.task, &f.scratch)
		f.nodes.Store(&nodes)
	}
	if len(f.behind) > 0 || now.Sub(f.usedAt) < usedEvery {
		return nil
	}
	f.usedAt = now
	return f.app.noteUsed(now, f.ageName())
}

// advance notes how far the first filling has come.
func (f *fill) advance(fetched []link.Fetched, elapsed time.Duration) {
	if len(f.behind) == 0 {
		return
	}
	for i := range fetched {
		p := &fetched[i]
		r := f.behind[p.TopicPartition]
		if r == nil || p.Stale() {
			continue
		}
		for _, b := range p.Batches {
			if !b.IsControl() {
				r.Records += int64(b.Count())
			}
		}
		r.Position, r.Elapsed = min(p.Next, r.End), elapsed
		if p.Next < r.End {
			f.tell(f.app.cfg.Hooks.RestoreProgress, r)
			continue
		}
		delete(f.behind, p.TopicPartition)
		f.log.Info("filled", "topic", r.Topic, "partition", r.Task.Partition, "records", r.Records, "in", elapsed)
		f.tell(f.app.cfg.Hooks.RestoreEnded, r)
	}
	if len(f.behind) == 0 {
		close(f.full)
	}
}

// filled waits until all global stores are; false: the application stops before.
func (a *app) filled(ctx context.Context, fills []*fill) bool {
	for _, f := range fills {
		select {
		case <-f.full:
		case <-a.stop:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// close ends the filling: after run, when nobody reads any more.
func (f *fill) close() error {
	if f.fetcher != nil {
		f.fetcher.Close()
	}
	if err := safely(f.task.Close); err != nil {
		return fmt.Errorf("global store %s: %w", f.name, err)
	}
	return nil
}
