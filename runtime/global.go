package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// fill is a global store of this process being filled: by one goroutine, which reads all partitions of its topic for
// as long as the application runs. The rows go to the engine with every fetch, and are read from there by the workers
// and by views. No group knows of it: where it is lies in the engine beside the rows.
type fill struct {
	app     *app
	control *kclient.Client
	sub     *topology.Subtopology
	name    string // of the store
	topic   string // that fills it
	log     *slog.Logger
	task    *task.Task
	active  atomic.Bool              // run is at work; any goroutine
	now     atomic.Pointer[activity] // any goroutine
	turn    *deadline
	tx      *state.Tx
	fetcher *kclient.Fetcher
	again   atomic.Bool                                 // it is being filled again; any goroutine
	behind  map[kclient.TopicPartition]*restoreProgress // not yet where the partition ended at the start
	sized   bool                                        // their sizes were asked for
	full    chan struct{}                               // closed when none is
	synced  time.Time                                   // of what was on disk; zero: not known
	goal    goal
	scratch task.Stats
	nodes   atomic.Pointer[[]NodeStats] // any goroutine

	partitions int32                            // of the topic, as far as it is read
	looked     time.Time                        // when it was last asked for more of them
	highs      map[kclient.TopicPartition]int64 // high watermarks, when they were last fetched
	inputs     atomic.Pointer[[]InputStats]     // how far the store is; any goroutine
}

// globals are the global stores of the application.
type globals struct {
	app   *app
	gate  gate
	fills []*fill // app.mu
}

// rows reads the global stores of this process; nil: there are none.
func (g *globals) rows() *state.Reader {
	stores := g.app.topo.GlobalStores()
	if len(stores) == 0 {
		return nil
	}
	return state.NewReader(g.app.home.stores(), state.GlobalNamespace()).Of(stores...)
}

// open opens the global stores and begins to read what they lack.
func (g *globals) open(ctx context.Context, control *kclient.Client) ([]*fill, error) {
	var fills []*fill
	for _, s := range g.app.topo.Globals() {
		f, err := g.openOne(ctx, control, s)
		if err != nil {
			for _, f := range fills {
				err = errors.Join(err, f.close())
			}
			return nil, fmt.Errorf("global store %s: %w", s.Stores[0].Name(), err)
		}
		fills = append(fills, f)
	}
	g.app.mu.Lock()
	g.fills = fills
	g.app.mu.Unlock()
	return fills, nil
}

func (g *globals) openOne(ctx context.Context, control *kclient.Client, s *topology.Subtopology) (_ *fill, err error) {
	f := &fill{
		app: g.app, control: control, sub: s, name: s.Stores[0].Name(), topic: s.Inputs[0].In(g.app.cfg.ApplicationID),
		full: make(chan struct{}), turn: newDeadline(), highs: map[kclient.TopicPartition]int64{}, looked: time.Now(),
		log: g.app.cfg.Logger.With("application", g.app.cfg.ApplicationID, "global store", s.Stores[0].Name()),
	}
	f.partitions = g.app.layout().globals[f.topic]
	if err := f.open(ctx, false); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// open opens the store and begins to read what it lacks, or all of it.
func (f *fill) open(ctx context.Context, again bool) error {
	a, now := f.app, f.app.cfg.Clock()
	f.behind, f.sized = map[kclient.TopicPartition]*restoreProgress{}, false
	origins, err := f.compare(ctx, again)
	if err != nil {
		return err
	}
	tx := state.NewTx(state.Config{
		Engine: a.home.stores(), Namespace: state.GlobalNamespace(), Budget: a.home.memory.budget, CheckpointCommits: 1,
	})
	f.task, err = task.New(task.Config{
		ApplicationID: a.cfg.ApplicationID,
		ID:            task.ID{Subtopology: -1},
		Subs:          []*topology.Subtopology{f.sub},
		Tx:            tx,
		Errors:        a.cfg.Errors,
		Partitions:    func(string) int32 { return f.partitions },
		MaxIdle:       -1,
		WallMillis:    now.UnixMilli(),
		Cut:           &f.turn.passed,
	})
	if err != nil {
		return errors.Join(err, tx.Close())
	}
	f.tx = tx
	f.now.Store(&activity{"taking records", f.task})
	for store, o := range origins {
		if err := tx.SetOrigin(store, o); err != nil {
			return err
		}
	}
	if f.fetcher, err = f.control.OpenFetcher(a.home.memory.filling()); err != nil {
		return err
	}
	return f.begin(ctx, now)
}

// begin goes on where the store on disk ends, or starts over where the topic does not have that any more.
func (f *fill) begin(ctx context.Context, now time.Time) error {
	var tps []kclient.TopicPartition
	for _, in := range f.task.Queues.Inputs() {
		tps = append(tps, kclient.TopicPartition{Topic: in.Topic, Partition: in.Partition})
	}
	first, err := f.control.ListOffsets(ctx, tps, kclient.Earliest, false)
	if err != nil {
		return err
	}
	last, err := f.control.ListOffsets(ctx, tps, kclient.Latest, false)
	if err != nil {
		return err
	}
	retentions, err := f.control.Topics().DeleteRetentions(ctx, f.topic)
	if err != nil {
		return err
	}
	f.goal = goal{asked: now, ends: last}
	for i, in := range f.task.Queues.Inputs() {
		old := in.Next < last[tps[i]] && outdated(f.synced, now, f.app.layout().deleteRetention(in.Topic, retentions))
		if in.Next == topology.Unknown || in.Next >= first[tps[i]] && in.Next <= last[tps[i]] && !old {
			continue
		}
		f.log.Warn("the store on disk does not fit its topic: filling it again", "too old", old, "topic", in.Topic,
			"partition", in.Partition, "position", in.Next, "from", first[tps[i]], "to", last[tps[i]])
		if err := f.task.StartOver(); err != nil {
			return err
		}
		break
	}
	if !slices.ContainsFunc(f.task.Queues.Inputs(), func(in task.Input) bool { return in.Next != topology.Unknown }) {
		f.tx.MarkSynced(now) // should it be interrupted, another continues, unless tombstones may be gone by then
	}
	for i, in := range f.task.Queues.Inputs() {
		tp := tps[i]
		next := in.Next
		if next == topology.Unknown {
			next = first[tp]
			if err := f.task.Seek(task.Offset{Topic: tp.Topic, Partition: tp.Partition, Next: next}); err != nil {
				return err
			}
		}
		f.fetcher.Set(tp, next)
		f.highs[tp] = last[tp]
		if next >= last[tp] {
			continue
		}
		r := &restoreProgress{Restore: Restore{
			Task: TaskID{-1, tp.Partition}, Store: f.name, Topic: tp.Topic, Start: next, Position: next, End: last[tp],
		}}
		r.begin(now)
		f.behind[tp] = r
		f.log.Info("filling", "topic", tp.Topic, "partition", tp.Partition, "from", next, "to", r.End)
		f.app.hooks.tellRestore(f.app.cfg.Hooks.RestoreStarted, r.Restore)
	}
	err = f.task.Restored(nil)
	f.publish()
	return err
}

// publish makes how far the store is available to any goroutine.
func (f *fill) publish() {
	var inputs []InputStats
	for _, in := range f.task.Queues.Inputs() {
		tp := kclient.TopicPartition{Topic: in.Topic, Partition: in.Partition}
		inputs = append(inputs, InputStats{
			Topic: in.Topic, Partition: in.Partition, Fetched: in.Next, HighWatermark: f.highs[tp],
			Lag: max(f.highs[tp]-in.Next, 0),
		})
	}
	f.inputs.Store(&inputs)
}

// has tells whether the store has all below these offsets, where there is anything.
func (f *fill) has(ends map[kclient.TopicPartition]int64) bool {
	if f.again.Load() {
		return false
	}
	at := map[kclient.TopicPartition]int64{}
	if inputs := f.inputs.Load(); inputs != nil {
		for _, in := range *inputs {
			at[kclient.TopicPartition{Topic: in.Topic, Partition: in.Partition}] = in.Fetched
		}
	}
	for tp, end := range ends {
		if at[tp] < end {
			return false
		}
	}
	return true
}

// run follows the topic until stop.
func (f *fill) run(ctx context.Context, stop <-chan struct{}) error {
	timer := time.NewTimer(0) // for processors of the program's own that punctuate
	defer timer.Stop()
	if len(f.behind) == 0 {
		f.filled()
	}
	for {
		var fetched []kclient.Fetched
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case fetched = <-f.fetcher.Fetched():
		case <-timer.C:
		}
		now := f.app.cfg.Clock()
		err := f.take(ctx, stop, fetched, now)
		if err == nil {
			err = f.look(ctx)
		}
		if errors.Is(err, errStop) {
			return nil
		} else if strayed(err) {
			if err := f.refill(ctx, stop, err); errors.Is(err, errStop) {
				return nil
			} else if err != nil {
				return err
			}
			fetched = nil
		} else if err != nil {
			return err
		}
		if _, err := f.task.Punctuate(now.UnixMilli()); err != nil {
			return err
		}
		if err := f.commit(now); err != nil {
			return err
		}
		if len(fetched) > 0 {
			f.publish()
		}
		f.advance(fetched)
		if err := f.keepSynced(ctx, now); err != nil {
			return err
		}
		wait := time.Hour
		if at, ok := f.task.NextWallPunctuation(); ok {
			wait = max(time.UnixMilli(at).Sub(now), time.Millisecond)
		}
		timer.Reset(min(wait, syncedEvery, f.control.MetadataAge()))
	}
}

// take puts what was fetched into the store. What it has done when stop or ctx ends stays.
func (f *fill) take(ctx context.Context, stop <-chan struct{}, fetched []kclient.Fetched, now time.Time) error {
	for i := range fetched {
		p := &fetched[i]
		if p.Stale() {
			continue
		}
		if p.Err != nil {
			return p.Err
		}
		for _, b := range p.Batches {
			if err := f.task.Add(p.Topic, p.Partition, b); err != nil {
				return err
			}
		}
		if err := f.task.Queues.Reached(p.Topic, p.Partition, p.Next, p.LastStable); err != nil {
			return err
		}
		f.highs[p.TopicPartition] = p.HighWatermark
	}
	for f.task.Queues.Records() > 0 {
		select {
		case <-stop:
			return errStop
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		f.turn.set(turnMost)
		if _, err := f.task.Step(stepRecords, now.UnixMilli()); err != nil {
			return err
		}
		if f.task.Crowded() || f.turn.passed.Load() {
			if err := f.commit(now); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit brings the rows to where everyone sees them.
func (f *fill) commit(now time.Time) error {
	if f.task.Pending() {
		if _, err := f.task.Ready(); err != nil {
			return err
		}
		if err := f.task.Advance(nil); err != nil {
			return err
		}
		f.task.Stats(&f.scratch)
		nodes := nodeStats(f.scratch.Nodes)
		f.nodes.Store(&nodes)
	}
	return nil
}

// advance notes how far the first filling has come.
func (f *fill) advance(fetched []kclient.Fetched) {
	if len(f.behind) == 0 {
		return
	}
	now := f.app.cfg.Clock()
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
			r.Bytes += int64(b.Size())
		}
		r.Position = min(p.Next, r.End)
		if p.Next < r.End {
			if r.due(now) {
				f.askSizes()
				report := r.report(now)
				f.log.Info("filling", append([]any{"topic", r.Topic, "partition", r.Task.Partition}, report.attributes()...)...)
				f.app.hooks.tellProgress(f.app.cfg.Hooks.RestoreProgress, report)
			}
			continue
		}
		delete(f.behind, p.TopicPartition)
		ended := r.end(now)
		f.log.Info("filled", "topic", r.Topic, "partition", r.Task.Partition, "records", r.Records, "bytes", r.Bytes,
			"records per second", int64(r.RecordsPerSecond), "in", ended.Elapsed)
		f.app.hooks.tellRestore(f.app.cfg.Hooks.RestoreEnded, ended)
	}
	if len(f.behind) == 0 {
		f.filled()
	}
}

// askSizes asks for the sizes of the partitions, once.
func (f *fill) askSizes() {
	if f.sized {
		return
	}
	f.sized = true
	sizes := f.app.sizes(slices.Collect(maps.Keys(f.behind))...)
	for tp, r := range f.behind {
		r.sizeBytes = sizes[tp]
	}
}

// wait waits until all global stores are; false: the application stops before.
func (g *globals) wait(ctx context.Context, fills []*fill) bool {
	for _, f := range fills {
		select {
		case <-f.full:
		case <-g.app.stop:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// isFull tells whether the store has what its topic had at the start.
func (f *fill) isFull() bool {
	if f.again.Load() {
		return false
	}
	select {
	case <-f.full:
		return true
	default:
		return false
	}
}

// close ends the filling: after run, when nobody reads any more.
func (f *fill) close() error {
	f.turn.timer.Stop()
	if f.fetcher != nil {
		f.fetcher.Close()
	}
	if f.task == nil {
		return nil
	}
	if err := safely(f.task.Close); err != nil {
		return fmt.Errorf("global store %s: %w", f.name, err)
	}
	return nil
}
