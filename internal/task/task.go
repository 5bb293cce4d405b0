package task

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"thalweg/internal/batch"
	"thalweg/state"
	"thalweg/topology"
)

// ID names a task: <sub-topology>_<partition>.
type ID struct {
	Subtopology int
	Partition   int32
}

func (id ID) String() string { return fmt.Sprintf("%d_%d", id.Subtopology, id.Partition) }

// Config is what a task is made of. ApplicationID, Subs, Tx and Outbox are needed.
type Config struct {
	ApplicationID string
	ID            ID
	// Subs is the sub-topology that the task runs. Several are the test driver's way to run a whole topology.
	Subs    []*topology.Subtopology
	Tx      *state.Tx     // the task's own, which it closes
	Outbox  *Outbox       // the worker's; nil: a global sub-topology writes nothing
	Globals *state.Reader // of the process' global stores; nil: there are none

	// Errors says what happens to records that fail. A global sub-topology writes no dead letters.
	Errors topology.Errors
	// GaveUp is told about a record that was processed more than once and is now dropped; nil: nobody is.
	GaveUp func(*topology.ProcessingError, topology.Decision)
	// Dropped is told about a row or a result that is dropped because it can't be written; nil: nobody is.
	Dropped func(*topology.ProcessingError)

	// PassedOver is told about a record, or the rest of a batch, that a restore leaves out by the policy; nil: nobody is.
	PassedOver func(*topology.ProcessingError)

	// OnLate and OnAhead are told about records that are late, and that are ahead of the wall clock: see [topology.Env].
	OnLate  func(in *topology.Instance, behindMillis int64)
	OnAhead func(in *topology.Instance, timestamp int64)

	// Foreign is told about an offset whose metadata no task has written: nobody knows then how far the partition's time
	// had come; nil: nobody is told.
	Foreign func(Offset, error)

	// Exists tells whether an input topic has the partition; nil: all have.
	Exists func(topic string, partition int32) bool
	// Partitions tells how many partitions an input has: the task of a global sub-topology reads them all.
	Partitions func(topic string) int32
	// MayName returns an error for a topic that no record may name as its destination, see [topology.Env]. nil: there is
	// none.
	MayName func(topic string) error
	// CheckedPartitions is how many partitions the inputs have, where it is checked that keys are in theirs: see
	// [topology.Env]. 0: it is not.
	CheckedPartitions int32
	// Start holds the committed offsets of the inputs, as far as there are any.
	Start []Offset
	// Times are what the progress topic has for the task's partition, by name; see [Ready.Times].
	Times map[string]int64

	// Aligned says how the time of operators behind repartitions follows the tasks upstream; nil: it does not.
	Aligned *Aligned

	// MaxIdle is how long the task waits for input partitions that are empty, so that records are taken in the
	// order of their timestamps. 0 waits for what is known to exist (see [Queues.Reached]); below 0 never waits.
	MaxIdle time.Duration
	// WallMillis is the wall clock's time when the task is made.
	WallMillis int64
	// EmitUpdates makes operators for which the program sets no policy emit each update, and not with the commit.
	EmitUpdates bool
	// Cut makes Step return after the record at hand while it is true. Any goroutine may set it. nil: nothing does.
	Cut *atomic.Bool
}

// Offset is a position to commit: the next record to process.
type Offset struct {
	Topic     string
	Partition int32
	Next      int64
	Metadata  string
	// Fresh tells, in Config.Start and to Seek, that nothing is committed, and that the task is to commit where it starts:
	// the reset policy would say something else later.
	Fresh bool
}

// Task runs a sub-topology on a partition; see the package's documentation. It belongs to one goroutine.
type Task struct {
	Queues   Queues // the inputs
	Stores   Stores
	Aligning Aligning // the time of operators behind repartitions
	Retries  Retries  // what failed and is processed again

	id     ID
	config Config
	life   life
	worked bool              // since the last commit
	last   topology.Metadata // of the record that the last Step of one record, or the last Retry, has processed

	env      topology.Env
	tx       *state.Tx
	outbox   *Outbox // empty where the task writes nothing
	cut      *atomic.Bool
	nodes    nodes
	global   *global // nil: it is not the task of a global sub-topology
	failures failures
	search   search
	punct    *punctuator

	decoder  batch.Decoder
	time     streamTime
	times    times
	progress progress
	sealed   sealed
}

// New makes a task and opens its stores.
func New(c Config) (*Task, error) {
	t := &Task{id: c.ID, config: c, life: life{id: c.ID}, tx: c.Tx, outbox: c.Outbox, cut: c.Cut}
	if t.cut == nil {
		t.cut = new(atomic.Bool)
	}
	if t.outbox == nil {
		t.outbox = NewOutbox(OutboxConfig{})
	}
	t.env = topology.Env{
		ApplicationID: c.ApplicationID, Subtopology: c.ID.Subtopology, Partition: c.ID.Partition,
		Tx: c.Tx, Globals: c.Globals, Outlet: c.Outbox.Outlet, OnError: t.failures.decide, Guarded: guarded(c.Errors),
		StreamTime: topology.Unknown, WallTime: c.WallMillis, EmitUpdates: c.EmitUpdates,
		Partitions: c.CheckedPartitions, MayName: c.MayName,
		OnLate: c.OnLate, OnAhead: c.OnAhead,
	}
	t.nodes.id, t.nodes.env = t.id, &t.env
	t.time, t.times = newStreamTime(&t.env), newTimes(&t.env)
	t.Queues = newQueues(&t.config, &t.env, &t.time, &t.decoder)
	t.Aligning = newAligning(&t.time, c.Aligned, t.Queues.list)
	t.Queues.heldUpto = t.Aligning.heldUpto
	t.Retries = Retries{id: t.id, env: &t.env, queues: &t.Queues}
	t.env.WatchInputs = func(in *topology.Instance, stall int64) func() (since, until int64) {
		return t.Queues.watch(in, stall, t.Aligning.watch)
	}
	t.progress = progress{queues: &t.Queues, times: &t.times, aligning: &t.Aligning, outbox: t.outbox}
	t.search = search{id: t.id, tx: t.tx}
	t.failures = failures{
		id: t.id, config: &t.config, env: &t.env, tx: t.tx, retries: &t.Retries, search: &t.search,
	}
	t.Stores = Stores{
		id: t.id, life: &t.life, config: &t.config, env: &t.env, tx: t.tx, failures: &t.failures, decoder: &t.decoder,
	}
	t.punct = newPunctuator(&t.env)
	t.env.Punctuator = t.punct
	for _, o := range c.Start {
		if err := t.Seek(o); err != nil {
			return nil, err
		}
	}
	if c.Outbox != nil {
		t.tx.LimitRows(c.Outbox.config.RecordMaxBytes)
	}
	var err error
	if t.global, err = t.Stores.open(&t.Queues); err != nil {
		return nil, fmt.Errorf("task %s: %w", t.id, err)
	}
	if t.global != nil {
		t.Retries.none, t.search.always = true, true
		t.search.set(false)
	}
	t.failures.topics = t.Stores.outputs()
	t.times.start(c.Times, t.Stores.has)
	return t, nil
}

// ID names the task.
func (t *Task) ID() ID { return t.id }

// State is where the task is in its life.
func (t *Task) State() State { return t.life.state }

// Tx holds the task's stores.
func (t *Task) Tx() *state.Tx { return t.tx }

// Seek sets where an input starts: what was committed, or what its reset policy gave. The input must be empty. Anybody
// may commit for a group, with any metadata: metadata that is not a task's never stops the task.
func (t *Task) Seek(o Offset) error {
	q, err := t.Queues.input("seek", o.Topic, o.Partition)
	if err != nil {
		return err
	}
	if q.records > 0 || q.next != q.committed.next {
		return fmt.Errorf("task %s: seek: %s is in use", t.id, q)
	}
	t.progress.seek(q, o, t.config.Foreign)
	return nil
}

// Jump goes on at another offset of an input whose partition does not hold the next one. All that was fetched is
// processed and committed.
func (t *Task) Jump(topic string, partition int32, next int64) error {
	q, err := t.Queues.input("jump", topic, partition)
	if err != nil {
		return err
	}
	if q.records > 0 || q.next != q.committed.next {
		return fmt.Errorf("task %s: jump: %s has records that are not committed", t.id, q)
	}
	q.jump(next)
	return nil
}

// build makes the graph, or makes it anew from what was committed. Counters go on.
func (t *Task) build() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = t.env.Recovered(v)
		}
	}()
	t.nodes.seen.Store(nil)
	t.tx.Unlisten()
	t.punct.rebuild()
	t.env.Source, t.Aligning.watches = nil, nil
	t.Queues.unwatch()
	t.env.Marks = t.times.marks()
	if err := t.nodes.build(t.config.Subs); err != nil {
		return err
	}
	t.punct.built()
	t.Queues.setNodes(t.nodes.graph)
	return nil
}

// LostTimes tells that the task has committed times which are nowhere: the progress topic was deleted. Its operators
// begin without.
func (t *Task) LostTimes() bool { return t.times.lost() }

// Suspend ends work after a commit, or after Discard: what is queued is dropped, stores and graph stay for Resume. An
// input may be behind records that were dropped, and that no commit says so of.
func (t *Task) Suspend() error {
	if t.sealed.touched || t.tx.Dirty() || t.progress.worked() {
		return fmt.Errorf("task %s: suspend: commit or discard first", t.id)
	}
	if err := t.life.move(Suspended); err != nil {
		return err
	}
	t.Queues.clear()
	t.Aligning.suspend()
	return nil
}

// Resume goes on where Suspend left off. Nobody else may have run the task in between: compare [Queues.Inputs] with
// the group's offsets, and make the task anew where they differ.
func (t *Task) Resume(wallMillis int64) error {
	if err := t.life.in("resume", Suspended); err != nil {
		return err
	}
	t.setWall(wallMillis)
	return t.life.move(Running)
}

// Close ends the task: processors are closed, then the stores. What is not committed is lost.
func (t *Task) Close() error {
	if t.life.state == Closed {
		return nil
	}
	errs := []error{t.nodes.close(), t.life.move(Closed)}
	t.Queues.clear()
	if err := t.tx.Close(); err != nil {
		errs = append(errs, fmt.Errorf("task %s: stores: %w", t.id, err))
	}
	return errors.Join(errs...)
}
