package streamtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/state/engine"
	"thalweg/state/memory"
	"thalweg/topology"
)

// Config changes how a topology is run. The zero value is what most tests want.
type Config struct {
	// Partitions of every topic; 0: one, and the whole topology is one task.
	Partitions int32
	// TopicPartitions says otherwise for single topics, by durable name.
	TopicPartitions map[string]int32
	// CommitEvery is the number of processed records between commits. 0: 1. Below 0: Commit alone commits.
	CommitEvery int
	// NewEngine makes the engine of the stores, at the start and when a restart has lost it; nil: in memory.
	NewEngine func() (engine.Engine, error)
	// CheckpointCommits is after how many commits the engine gets what was committed; 0: the stores' default.
	CheckpointCommits int

	ApplicationID string // empty: "test"
	// WallClock is where the clock stands at first; the zero value: 1970.
	WallClock time.Time
	// Errors says what happens to records that fail. The zero value stops the application at the first.
	Errors topology.Errors
	// MaxIdle is how long a task waits, by the wall clock, for inputs that are empty; 0: not at all.
	MaxIdle time.Duration
}

// Driver runs one application. It belongs to the test's goroutine.
type Driver struct {
	t      TB
	topo   *topology.Topology
	config Config

	now     int64
	topics  map[string]*topicLog
	fixed   map[string]int32 // partition counts that the topology asks for
	engine  engine.Engine
	outbox  *task.Outbox
	globals []*run // fill the global stores
	runs    []*run
	offsets map[source]task.Offset // committed
	pending int                    // records processed since the last commit
	failed  error
	aborted map[string][]Written // what the failed transaction had written
}

// source is a topic's partition.
type source struct {
	topic     string
	partition int32
}

// run is a task and how far its inputs are fed.
type run struct {
	*task.Task
	fed map[source]int64
}

// New starts the application. It is closed when the test ends.
func New(t TB, topo *topology.Topology, c Config) *Driver {
	t.Helper()
	d := &Driver{
		t: t, topo: topo, config: c,
		topics: map[string]*topicLog{}, fixed: map[string]int32{}, offsets: map[source]task.Offset{},
	}
	d.config.Partitions = max(c.Partitions, 1)
	if c.CommitEvery == 0 {
		d.config.CommitEvery = 1
	}
	if c.ApplicationID == "" {
		d.config.ApplicationID = "test"
	}
	if c.NewEngine == nil {
		d.config.NewEngine = func() (engine.Engine, error) { return memory.New(), nil }
	}
	if !c.WallClock.IsZero() {
		d.now = c.WallClock.UnixMilli()
	}
	for _, s := range topo.Subtopologies() {
		for _, in := range s.Inputs {
			if in.Partitions > 0 {
				d.fixed[in.In(d.config.ApplicationID)] = in.Partitions
			}
		}
	}
	t.Cleanup(d.Close)
	d.must(c.Errors.Check())
	d.must(d.start())
	return d
}

// Close ends the application as a crash would, without a commit. A test does so by itself.
func (d *Driver) Close() {
	err := d.stop()
	if d.engine != nil {
		err = errors.Join(err, d.engine.Close())
		d.engine = nil
	}
	if err != nil {
		d.t.Errorf("streamtest: close: %v", err)
	}
}

func (d *Driver) must(err error) {
	if err != nil {
		d.t.Helper()
		d.t.Fatalf("streamtest: %v", err)
	}
}

// start makes the tasks, restores and runs them.
func (d *Driver) start() (err error) {
	if d.engine == nil {
		if d.engine, err = d.config.NewEngine(); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	d.outbox = task.NewOutbox(task.OutboxConfig{
		Partitions: func(topic string) (int32, error) { return int32(len(d.topic(topic).partitions)), nil },
	})
	d.pending = 0
	for _, s := range d.topo.Globals() {
		if err := d.addGlobal(s); err != nil {
			return err
		}
	}
	subs := d.topo.Subtopologies()
	if d.config.Partitions == 1 && len(d.config.TopicPartitions) == 0 {
		return d.add(task.ID{}, subs...)
	}
	for _, s := range subs {
		n := int32(0)
		for _, in := range s.Inputs {
			n = max(n, d.partitionsOf(in.In(d.config.ApplicationID)))
		}
		for p := range n {
			if err := d.add(task.ID{Subtopology: s.ID, Partition: p}, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Driver) add(id task.ID, subs ...*topology.Subtopology) error {
	c := task.Config{
		ApplicationID: d.config.ApplicationID, ID: id, Subs: subs, Outbox: d.outbox, Tx: d.tx(id),
		Errors:  d.config.Errors,
		Exists:  func(topic string, partition int32) bool { return partition < d.partitionsOf(topic) },
		Globals: d.globalRows(), MaxIdle: d.config.MaxIdle, WallMillis: d.now,
	}
	for _, s := range subs {
		for _, in := range s.Inputs {
			if o, ok := d.offsets[source{in.In(d.config.ApplicationID), id.Partition}]; ok {
				c.Start = append(c.Start, o)
			}
		}
	}
	t, err := task.New(c)
	if err != nil {
		return err
	}
	r := &run{Task: t}
	d.runs = append(d.runs, r)
	if err := r.fromStart(); err != nil {
		return err
	}
	if err := d.restore(t); err != nil {
		return err
	}
	r.rewind()
	return nil
}

// fromStart makes inputs without an offset begin at their topics' starts.
func (r *run) fromStart() error {
	for _, in := range r.Inputs() {
		if in.Next != topology.Unknown {
			continue
		}
		if err := r.Seek(task.Offset{Topic: in.Topic, Partition: in.Partition}); err != nil {
			return err
		}
	}
	return nil
}

// restore brings the task's stores to where the application left off.
func (d *Driver) restore(t *task.Task) error {
	logs, err := t.Changelogs()
	if err != nil {
		return err
	}
	for _, c := range logs {
		from := int64(0)
		if c.Known {
			from = c.Position
		}
		for _, b := range d.topic(c.Topic).partitions[c.Partition].from(from) {
			if err := t.Restore(c.Store, b); err != nil {
				return err
			}
		}
	}
	return t.Restored(d.position(t))
}

// position gives the ends of a task's changelogs.
func (d *Driver) position(t *task.Task) func(store string) int64 {
	ends := map[string]int64{}
	for _, s := range t.Tx().Stores() {
		if spec := s.Spec(); !spec.Volatile {
			log := d.topic(spec.ChangelogTopic(d.config.ApplicationID))
			ends[s.Name()] = log.partitions[t.ID().Partition].end
		}
	}
	return func(store string) int64 {
		if end, ok := ends[store]; ok {
			return end
		}
		return -1
	}
}

// rewind makes feeding start where the task's inputs stand.
func (r *run) rewind() {
	r.fed = map[source]int64{}
	for _, in := range r.Inputs() {
		r.fed[source{in.Topic, in.Partition}] = in.Next
	}
}

func (d *Driver) stop() error {
	var errs []error
	for _, r := range d.all() {
		if err := r.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	d.runs, d.globals = nil, nil
	return joined(errs)
}

func joined(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
}

// Keep says what a restart finds.
type Keep uint8

// What a restart finds.
const (
	LoseState Keep = iota // the engine is empty: stores come back from their changelogs
	KeepState             // the engine as it was
)

// Restart stops the application as a crash would, without a commit, and starts it anew.
func (d *Driver) Restart(k Keep) {
	d.t.Helper()
	d.must(d.restart(k))
}

func (d *Driver) restart(k Keep) error {
	d.outbox.Discard()
	if err := d.stop(); err != nil {
		return err
	}
	if k == LoseState {
		if err := d.engine.Close(); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
		d.engine = nil
	}
	d.failed = nil
	if err := d.start(); err != nil {
		return err
	}
	return d.process()
}

// process feeds and steps the tasks until nothing is left to do. Without commits in between, what lies in the outbox
// is left to the next.
func (d *Driver) process() error {
	if d.failed != nil {
		return fmt.Errorf("the application has stopped: %w", d.failed)
	}
	for worked := true; worked; {
		worked = false
		if err := d.follow(); err != nil {
			return d.fail(err)
		}
		for _, r := range d.runs {
			if err := d.feed(r); err != nil {
				return d.fail(err)
			}
			n, err := r.Step(1, d.now)
			if err != nil {
				return d.fail(err)
			}
			worked = worked || n > 0
			d.pending += n
			if d.config.CommitEvery > 0 && d.pending >= d.config.CommitEvery {
				if err := d.commit(); err != nil {
					return d.fail(err)
				}
			}
		}
		// Records that were passed over leave nothing but a position to commit.
		if !worked && d.config.CommitEvery == 1 && slices.ContainsFunc(d.runs, (*run).moved) {
			if err := d.commit(); err != nil {
				return d.fail(err)
			}
			worked = true
		}
	}
	return nil
}

func (r *run) moved() bool { return r.Pending() }

// feed gives a task what its inputs hold.
func (d *Driver) feed(r *run) error {
	for s, next := range r.fed {
		p := &d.topic(s.topic).partitions[s.partition]
		if p.end == next {
			continue
		}
		for _, b := range p.from(next) {
			if err := r.Add(s.topic, s.partition, b); err != nil {
				return err
			}
		}
		r.fed[s] = p.end
	}
	return nil
}

// commit makes what all tasks did since the last commit one transaction.
func (d *Driver) commit() error {
	d.pending = 0
	for _, r := range d.runs {
		if err := r.Flush(); err != nil {
			return err
		}
	}
	if err := d.write(); err != nil {
		return err
	}
	for _, r := range d.runs {
		for _, o := range r.Offsets() {
			d.offsets[source{o.Topic, o.Partition}] = o
		}
		if err := r.Committed(d.position(r.Task)); err != nil {
			return err
		}
	}
	return nil
}

// write puts what lies in the outbox into the topics.
func (d *Driver) write() error {
	for _, p := range d.outbox.Take() {
		raw, err := p.Builder.Finish(batch.NoProducer())
		if err == nil {
			err = d.topic(p.Topic).append(p.Partition, slices.Clone(raw))
		}
		if err != nil {
			return err
		}
		d.outbox.Recycle(p)
	}
	return nil
}

// fail drops the transaction and stops the application. A dead letter is written after it.
func (d *Driver) fail(err error) error {
	d.failed = err
	if e := d.abort(); e != nil {
		d.t.Logf("streamtest: abort: %v", e)
	}
	for _, r := range d.all() {
		l, ok := r.DeadLetter()
		if e := r.Discard(); e != nil {
			d.t.Logf("streamtest: discard: %v", e)
			continue
		}
		r.rewind()
		if !ok {
			continue
		}
		if e := errors.Join(l.Send(d.outbox), d.write()); e != nil {
			d.t.Logf("streamtest: dead letter: %v", e)
		}
	}
	return err
}

// abort empties the outbox, and keeps what was in it for a test to look at.
func (d *Driver) abort() error {
	d.aborted = map[string][]Written{}
	for _, p := range d.outbox.Take() {
		raw, err := p.Builder.Finish(batch.NoProducer())
		if err != nil {
			return err
		}
		log := topicLog{name: p.Topic, partitions: make([]partitionLog, p.Partition+1)}
		if err := log.append(p.Partition, slices.Clone(raw)); err != nil {
			return err
		}
		d.aborted[p.Topic] = append(d.aborted[p.Topic], log.records...)
		d.outbox.Recycle(p)
	}
	return nil
}

// Aborted are the records that the transaction which failed had written to a topic: nobody reads them. Offsets count
// from 0.
func (d *Driver) Aborted(topic string) []Written { return slices.Clone(d.aborted[topic]) }

// AbortedTopics are the topics that the failed transaction had written to, sorted.
func (d *Driver) AbortedTopics() []string { return slices.Sorted(maps.Keys(d.aborted)) }

// Commit commits, and processes and commits what follows from it.
func (d *Driver) Commit() {
	d.t.Helper()
	d.must(d.TryCommit())
}

// TryCommit is Commit for tests that expect a failure.
func (d *Driver) TryCommit() error {
	if d.failed != nil {
		return fmt.Errorf("the application has stopped: %w", d.failed)
	}
	for again := true; again; {
		if err := d.commit(); err != nil {
			return d.fail(err)
		}
		if err := d.process(); err != nil {
			return err
		}
		again = slices.ContainsFunc(d.runs, (*run).moved)
	}
	return nil
}

// Discard drops what was not committed, as an aborted transaction does, and processes the records again.
func (d *Driver) Discard() {
	d.t.Helper()
	d.outbox.Discard()
	d.pending = 0
	for _, r := range d.runs {
		d.must(r.Discard())
		r.rewind()
	}
	d.must(d.process())
}

// AdvanceWallClock moves the clock forward in one step, and processes what that brings.
func (d *Driver) AdvanceWallClock(by time.Duration) {
	d.t.Helper()
	d.must(d.TryAdvanceWallClock(by))
}

// TryAdvanceWallClock is AdvanceWallClock for tests that expect a failure.
func (d *Driver) TryAdvanceWallClock(by time.Duration) error {
	if d.failed != nil {
		return fmt.Errorf("the application has stopped: %w", d.failed)
	}
	d.now += by.Milliseconds()
	fired := false
	for _, r := range d.runs {
		f, err := r.Punctuate(d.now)
		if err != nil {
			return d.fail(err)
		}
		fired = fired || f
	}
	if fired && d.config.CommitEvery > 0 {
		if err := d.commit(); err != nil {
			return d.fail(err)
		}
	}
	return d.process()
}

// WallClock is the time that the application sees.
func (d *Driver) WallClock() time.Time { return time.UnixMilli(d.now) }

// Topics are the names of all topics that hold records, sorted.
func (d *Driver) Topics() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.topics)) {
		if len(d.topics[name].records) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// Written are the records of a topic, as bytes, in the order in which they were written. The name is the durable
// one, also of a repartition topic or a changelog.
func (d *Driver) Written(topic string) []Written {
	if l := d.topics[topic]; l != nil {
		return slices.Clone(l.records)
	}
	return nil
}
