package streamtest

import (
	"errors"
	"slices"
	"time"

	"thalweg/internal/align"
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
	// EmitOnCommit makes operators for which the program sets no policy emit with the commit, as they do in production:
	// each changed key once, with its newest result. Otherwise they emit each update, so that what a test sees does not
	// depend on when a commit is. What the program sets (Emit of a group, a table or the builder) holds in any case.
	EmitOnCommit bool
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
	kept    map[string]int32 // partition counts of changelogs: one for each task
	engine  engine.Engine
	outbox  *task.Outbox
	globals []*run // fill the global stores
	runs    []*run
	plan    *align.Plan                // nil: nothing is aligned
	offsets map[source]task.Offset     // committed
	times   map[int32]map[string]int64 // of operators, committed; by partition and name
	pending int                        // records processed since the last commit
	failed  error
	aborted map[string][]Written            // what the failed transaction had written
	reads   []string                        // topics, by durable name, sorted
	formats map[string]func(Written) string // of the records of topics that have an Input
	sent    []sent                          // records of inputs that are not processed yet
}

// New starts the application. It is closed when the test ends.
func New(t TB, topo *topology.Topology, c Config) *Driver {
	t.Helper()
	d := &Driver{
		t: t, topo: topo, config: c,
		topics: map[string]*topicLog{}, fixed: map[string]int32{}, kept: map[string]int32{},
		offsets: map[source]task.Offset{}, times: map[int32]map[string]int64{}, formats: map[string]func(Written) string{},
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
	for _, s := range slices.Concat(topo.Subtopologies(), topo.Globals()) {
		for _, in := range s.Inputs {
			name := in.In(d.config.ApplicationID)
			if in.Partitions > 0 && !s.Global {
				d.fixed[name] = in.Partitions
			}
			d.reads = append(d.reads, name)
		}
	}
	slices.Sort(d.reads)
	t.Cleanup(d.Close)
	d.must(c.Errors.Check())
	d.must(c.Errors.CheckFor(topo, d.config.ApplicationID))
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
