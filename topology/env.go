package topology

import (
	"fmt"

	"thalweg/state"
)

// Unknown is a time that has not been seen yet.
const Unknown int64 = -1

// MaxTime is the latest time that a record may have. A later one, which is no time that anybody means, is dropped as
// BadTime: so the sum of a time and any duration is a time, and no operator has to guard its sums.
const MaxTime int64 = 1<<62 - 1

// IsTime tells whether a record may have the time.
func IsTime(timestamp int64) bool { return uint64(timestamp) <= uint64(MaxTime) }

// Env is what one task gives to its nodes. It belongs to the goroutine that runs the task, as all the nodes do;
// the task keeps its fields up to date, nodes read them.
type Env struct {
	ApplicationID string
	Subtopology   int
	Partition     int32 // the task's partition
	// Partitions is how many there are of the task's inputs, where the program's assertions of where keys are get checked;
	// 0: they are not.
	Partitions int32

	Tx      *state.Tx     // the task's stores
	Globals *state.Reader // the process' global stores; nil where there are none
	// Outlet opens the way to a topic that the task writes; sinks call it when they are made, or per topic for
	// topics that records name.
	Outlet func(topic string) (Outlet, error)
	// MayName returns an error for a topic that no record may name as its destination, because the application keeps it
	// for itself. nil: there is none.
	MayName func(topic string) error
	// OnError decides what happens to a failure: Skip drops the record at the node that failed, anything else stops
	// the task; nil is [Fail] for all.
	OnError func(*ProcessingError) Decision
	// Guarded tells that OnError may go on after an error of user code: ports are guarded.
	Guarded bool

	// OnLate is told about a record that a node leaves out because it came too late, and how far behind the node's time it
	// was, in milliseconds. OnAhead is told about a record whose time is more than a day past the wall clock, when it
	// moves the time of its partition, or is forwarded by a processor. Nil where nobody wants to know.
	OnLate  func(in *Instance, behindMillis int64)
	OnAhead func(in *Instance, timestamp int64)

	// EmitUpdates makes operators for which the program sets no policy emit each update, and not with the commit.
	EmitUpdates bool

	StreamTime int64 // highest timestamp that the task has taken from its inputs, or Unknown; see Aligned
	WallTime   int64 // milliseconds since the epoch, read once per step

	// Aligning tells that the time of operators behind a repartition goes no further than Aligned: tasks upstream may
	// still write older records than those that the task has taken. Exhausted tells that, when last looked at, none of
	// them had records to read. See [Instance.Upto].
	Aligning, Exhausted bool
	Aligned             int64

	// Marks are times that nodes have reached, by a name of the node's stores: they are committed with the offsets of
	// the inputs, and at their last commit again when the graph is built after a restart or an abort. May be nil where
	// nothing is kept.
	Marks map[string]*int64

	// Source is the record being processed; nil between records, in punctuation and in flushes.
	Source *SourceRecord

	// The node whose user code runs or ran last, by its number, and all nodes by number: it changes several times per
	// record, and a pointer would cost the garbage collector's write barrier each time.
	current   int
	instances []*Instance

	Punctuator Punctuator
	// WatchInputs returns a function that tells since when and until when all inputs whose records may come to the node
	// are known to have been read to their ends without a break, in milliseconds of a monotonic clock; Unknown: they are
	// not. A break is more than stall milliseconds of which nothing is known. Nil where nothing ever is.
	WatchInputs func(in *Instance, stall int64) (known func() (since, until int64))

	shared map[string]any // what nodes of the graph share, by name
}

// Current is the node whose user code runs, or ran last: the one to blame for a panic. It may be nil.
func (e *Env) Current() *Instance {
	if e.current == 0 {
		return nil
	}
	return e.instances[e.current-1]
}

// currentUnsynchronized reads a word that the task's goroutine writes for each node that a record passes: an atomic
// store there would cost more than the hop.
//
//go:norace
func (e *Env) currentUnsynchronized() int { return e.current }

// instance makes a node's instance, whose number is one more than that of the instance before.
func (e *Env) instance(n *Node) *Instance {
	in := &Instance{Node: n, Env: e, number: len(e.instances) + 1, call: Call{env: e}, phase: PhaseProcess}
	switch n.Kind {
	case KindSource:
		in.phase = PhaseDecode
	case KindSink:
		in.phase = PhaseEncode
	}
	in.behind = e.Aligning && n.behind
	e.instances = append(e.instances, in)
	return in
}

// Outlet is the way to one topic: records appended become durable with the task's next commit.
type Outlet interface {
	Partitions() int32
	// Append copies key, value and headers; nil is null.
	Append(partition int32, timestamp int64, key, value []byte, headers []Header) error
}

// Instance is a node in one task: the blueprint, the task's environment and counters. Counters are plain integers
// of the task's goroutine; the task publishes copies.
type Instance struct {
	Node      *Node
	Env       *Env
	number    int // see Env.instances
	Processed int64
	Dropped   [reasons]int64
	LateMax   int64 // how far behind its time the latest record was that it left out as too late, in milliseconds
	// Settle, where a node sets it, brings out what the node still holds back of the records that it took in, and
	// tells whether there was something. It is called before each commit, parents first.
	Settle func() (some bool, err error)
	// TimeMoved, where a node sets it, does what is due because Upto may have moved though no record came. It is
	// called between records, parents first.
	TimeMoved func() error
	behind    bool    // the node aligns: it is behind a repartition
	ahead     []ahead // see Announce
	flushed   flushed // see AnnounceFlushed
	// hook is of a processor that has one: see Prefetcher. It takes the serde of the keys.
	hook func(keys any) func([][]byte)
	// Close, where a node sets it, is called once when the task is closed or rewound.
	Close func() error

	time    *int64 // see TimedBy
	call    Call
	phase   Phase                  // of a panic of the node's user code
	refused func(store, at string) // of a rehearsal: is told which stores are not connected, and where they are opened
}

// ahead is a look-up that the node makes for each record.
type ahead struct {
	keys any // the serde of its keys
	make func() state.Prefetcher
}

// Announce registers a prefetcher of the node's look-ups. It prepares them for records that are about to be read from a
// topic, where the node sees the topic's own keys, encoded by an equal serde. Nodes call it when they are made.
func (in *Instance) Announce(keys any, prefetcher func() state.Prefetcher) {
	in.ahead = append(in.ahead, ahead{keys, prefetcher})
}

// flushed says that what goes on from the node goes on with the commit.
type flushed struct {
	keys any // the serde of its keys
	tell func([]state.Prefetcher)
}

// AnnounceFlushed says that the node forwards only with the commit, from a store. tell gives the store the prefetchers
// of the nodes below, which it uses before it forwards. Records that the node receives announce nothing to those nodes.
func (in *Instance) AnnounceFlushed(keys any, tell func([]state.Prefetcher)) {
	in.flushed = flushed{keys, tell}
}

// Upto is the time of the node that has seen records up to a time: behind a repartition no later than [Env] says.
func (in *Instance) Upto(seen int64) int64 {
	if in.behind {
		return min(seen, in.Env.Aligned)
	}
	return seen
}

// Idled lets the time of a node behind a repartition go on though no record has come, while no task upstream has any.
func (in *Instance) Idled(to int64) {
	if in.behind && in.Env.Exhausted {
		in.Env.Aligned = max(in.Env.Aligned, to)
	}
}

// Enter counts a record and makes the node the one whose user code runs.
func (in *Instance) Enter() {
	in.Processed++
	in.Env.current = in.number
}

// Resume makes the node the one whose user code runs again, after its children did.
func (in *Instance) Resume() { in.Env.current = in.number }

// Tx gives a store's transaction to the store's Open; it makes an Instance a [state.Host], which refuses stores that
// are not connected to its node.
func (in *Instance) Tx(store string) (*state.Tx, error) {
	if in.Node.opens(store) {
		return in.Env.Tx, nil
	}
	return nil, fmt.Errorf("store %q is not connected to node %s (%s): name it in the call that made the node", store,
		in.Node.Name, in.Node.Site)
}

// Mark is a time, at first Unknown, that belongs to the node and is committed with the offsets of the inputs: the node
// moves it when it likes.
func (in *Instance) Mark(name string) *int64 {
	m := in.Env.Marks[name]
	if m == nil {
		m = new(int64)
		*m = Unknown
		if in.Env.Marks != nil {
			in.Env.Marks[name] = m
		}
	}
	return m
}

// Rank is the node's place in the order of flushes: parents come before their children.
func (in *Instance) Rank() int { return in.Node.id }

// Drop counts a record that the node leaves out.
func (in *Instance) Drop(why Reason) { in.Dropped[why]++ }

// Reason is why a record was dropped.
type Reason uint8

// The reasons to drop a record. Each has a counter per node.
const (
	NullKey     Reason = iota // a null key where a key is needed
	NullValue                 // a null value where a value is needed
	BadTime                   // a timestamp that is no time: see IsTime
	Late                      // older than the grace period, per window
	Expired                   // refused by a store as older than its retention
	Stale                     // an out-of-order row of a versioned table
	Skipped                   // failed, and the error policy went on
	NoPartition               // a partitioner chose none
	Duplicate                 // another record of the same id went on before
	reasons
)

// Reasons is how many there are.
const Reasons = int(reasons)

func (r Reason) String() string {
	return [...]string{"null-key", "null-value", "bad-time", "late", "expired", "stale", "skipped", "no-partition",
		"duplicate"}[r]
}

// Shared is a value that several nodes of a task share: the first that asks builds it.
func Shared[T any](e *Env, name string, build func() T) T {
	if v, ok := e.shared[name].(T); ok {
		return v
	}
	v := build()
	e.shared[name] = v
	return v
}
