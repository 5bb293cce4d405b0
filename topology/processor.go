package topology

import (
	"errors"
	"fmt"
	"time"

	"thalweg/serde"
	"thalweg/state"
)

// Processor is user code that is a node: it sees each record, keeps state in stores, forwards what it wants.
// A new one is made for each task; its methods are called by one goroutine.
type Processor[K, V, KO, VO any] interface {
	// Init is called once, before the first record; it opens stores and schedules punctuation. Stores that are not
	// connected to the node are refused: building the topology sees to it, with a processor that is made, initialised on
	// empty stores of no application, and closed again. So what reaches out of the process is better begun later.
	Init(c *Context[KO, VO]) error
	// Process is called for each record. Headers are shared and read-only.
	Process(r Record[K, V]) error
}

// Prefetcher is implemented by a processor that can tell from a record's key which rows it will look up. Where its
// stores do not fit into memory, it gets the keys of records that wait, in their order and before the first of them is
// processed. It may then have the rows read together: see state.KVStore.Prefetch. It is a hint: a filter may leave
// records out, and behind a node that may change keys there are no calls. The serde decodes the keys for it one more
// time. Prefetch must not change anything.
type Prefetcher[K any] interface {
	Prefetch(keys []K)
}

// Closer is implemented by a processor that wants to know when its task is closed.
type Closer interface{ Close() error }

// NewProcessor is a node that runs a processor with the given stores. The node changes keys as far as anyone knows.
func NewProcessor[K, V, KO, VO any](
	name, site string, stores []state.Store, make func() Processor[K, V, KO, VO],
) *Node {
	n := processorNode(name, site, stores, make == nil)
	n.ChangesKey = true
	n.Make = processorMake(make, func(*Record[K, V], *Context[KO, VO]) {})
	if make != nil {
		n.rehearse = rehearsal(make)
	}
	return n
}

// NewValueProcessor is a node that runs a processor with the given stores and keeps keys: what the processor forwards
// for a record goes on under the record's key, whatever key it names.
func NewValueProcessor[K, V, VO any](
	name, site string, stores []state.Store, make func() Processor[K, V, K, VO],
) *Node {
	n := processorNode(name, site, stores, make == nil)
	n.Make = processorMake(make, func(r *Record[K, V], c *Context[K, VO]) {
		c.fixed, c.key, c.nullKey = true, r.Key, r.NullKey
	})
	if make != nil {
		n.rehearse = rehearsal(make)
	}
	return n
}

// processorNode is what needs no types. A nil function and nil stores are mistakes of the program, found at Build.
func processorNode(name, site string, stores []state.Store, unmade bool) *Node {
	n := &Node{Name: name, Kind: KindProcessor, Site: site, ChangesValue: true}
	for i, s := range stores {
		if s == nil {
			n.faults = append(n.faults, fmt.Errorf("store %d of %d is nil", i+1, len(stores)))
			continue
		}
		n.Stores = append(n.Stores, s)
	}
	if unmade {
		n.faults = append(n.faults, errors.New("the function that makes its processors is nil"))
	}
	return n
}

// MakerOf is a function that makes processors without their own type, or nil for nil.
func MakerOf[K, V, KO, VO any, P Processor[K, V, KO, VO]](p func() P) func() Processor[K, V, KO, VO] {
	if p == nil {
		return nil
	}
	return func() Processor[K, V, KO, VO] { return p() }
}

func processorMake[K, V, KO, VO any](
	make func() Processor[K, V, KO, VO], begin func(*Record[K, V], *Context[KO, VO]),
) Make {
	return Operator(func(in *Instance, next []any) (Port[K, V], error) {
		all, err := Forward[KO, VO](next)
		if err != nil {
			return nil, err
		}
		c := newContext(in, all, next)
		p := make()
		if err := p.Init(c); err != nil {
			return nil, in.Error(PhaseProcess, Unknown, fmt.Errorf("init: %w", err))
		}
		if closer, ok := p.(Closer); ok {
			in.Close = closer.Close
		}
		if hook, ok := p.(Prefetcher[K]); ok {
			in.hook = hookOf(hook)
		}
		return func(r *Record[K, V]) error {
			in.Enter()
			begin(r, c)
			err := c.orFailed(p.Process(*r))
			c.fixed = false
			return in.Error(PhaseProcess, r.Timestamp, err)
		}, nil
	})
}

// Context is what a processor may do. It belongs to one task, and so to one goroutine.
type Context[K, V any] struct {
	in    *Instance
	all   Port[K, V]
	named []namedPort[K, V]
	slot  Record[K, V]

	failed error // of a record that was forwarded, until the call that forwarded it ends

	nullOfKey   func(*K) bool // nil for types without a null
	nullOfValue func(*V) bool

	fixed   bool // a record is being processed by a node that keeps keys: key and nullKey are that record's
	key     K
	nullKey bool
}

type namedPort[K, V any] struct {
	name string
	port Port[K, V]
}

func newContext[K, V any](in *Instance, all Port[K, V], next []any) *Context[K, V] {
	c := &Context[K, V]{in: in, all: all, nullOfKey: serde.NullOf[K](), nullOfValue: serde.NullOf[V]()}
	for i, child := range in.Node.children {
		c.named = append(c.named, namedPort[K, V]{child.Name, next[i].(Port[K, V])})
	}
	return c
}

// Forward sends a record to all children, depth first, before it returns. A nil key or value of a nilable type is
// null; for other types NullKey and NullValue say it. A record later than [MaxTime] is dropped, counted as BadTime; a
// negative time is an error.
//
// Return the error that comes back. It is nil where the policy dropped the record at a node downstream. Otherwise the
// record at hand has failed, and does so even when the processor returns nil.
func (c *Context[K, V]) Forward(r Record[K, V]) error {
	return c.send(c.all, r)
}

// ForwardTo sends a record to the one child of that name, as [Context.Forward] does. There being no such child is the
// error of this call alone.
func (c *Context[K, V]) ForwardTo(child string, r Record[K, V]) error {
	for i := range c.named {
		if c.named[i].name == child {
			return c.send(c.named[i].port, r)
		}
	}
	have := list(names(c.in.Node.children))
	return fmt.Errorf("forward: node %s has no child %q: its children are: %s", c.in.Node.Name, child, have)
}

func (c *Context[K, V]) send(to Port[K, V], r Record[K, V]) error {
	switch env := c.in.Env; {
	case r.Timestamp < 0:
		return fmt.Errorf("forward: timestamp %d: it must not be negative", r.Timestamp)
	case r.Timestamp > MaxTime:
		c.in.Drop(BadTime)
		return nil
	case env.LooksAhead(r.Timestamp):
		env.OnAhead(c.in, r.Timestamp)
	}
	c.slot = r
	if c.fixed {
		c.slot.Key, c.slot.NullKey = c.key, c.nullKey
	} else if c.nullOfKey != nil {
		c.slot.NullKey = c.nullOfKey(&c.slot.Key)
	}
	if c.nullOfValue != nil {
		c.slot.NullValue = c.nullOfValue(&c.slot.Value)
	}
	err := to(&c.slot)
	c.in.Resume()
	if err != nil && c.failed == nil {
		c.failed = err
	}
	return err
}

// orFailed is what a call of the processor returned, or the failure of a record that it forwarded: a processor that
// passes over that would lose the record, although no policy allowed it.
func (c *Context[K, V]) orFailed(err error) error {
	if c.failed == nil {
		return err
	}
	failed := c.failed
	c.failed = nil
	if err == nil {
		return failed
	}
	return err
}

// Tx gives a store's transaction to the store's Open; it makes a Context a [state.Host], which refuses stores that are
// not connected to the node.
func (c *Context[K, V]) Tx(store string) (*state.Tx, error) {
	tx, err := c.in.Tx(store)
	if err == nil {
		return tx, nil
	}
	at := opener()
	if c.in.refused != nil {
		c.in.refused(store, at)
	}
	return nil, fmt.Errorf("%w (opened at %s)", err, at)
}

// Globals reads the application's global stores as they are at the moment: store.Read(c.Globals()). They need not be
// connected to the node. It is nil where the application has none.
func (c *Context[K, V]) Globals() *state.Reader { return c.in.Env.Globals }

// Schedule calls f at each interval of stream time or wall-clock time, with the clock's time in milliseconds.
// Stream time fires first with the first record; missed intervals collapse into one call. Cancel ends it.
func (c *Context[K, V]) Schedule(
	interval time.Duration, kind TimeKind, f func(now int64) error,
) (cancel func(), err error) {
	return c.ScheduleAt(time.Time{}, interval, kind, f)
}

// ScheduleAt is Schedule with the grid of times anchored at start instead of at zero (stream time) or at the time
// of the call (wall clock), as in Kafka Streams since 4.2.
func (c *Context[K, V]) ScheduleAt(
	start time.Time, interval time.Duration, kind TimeKind, f func(now int64) error,
) (cancel func(), err error) {
	if interval < time.Millisecond {
		return nil, fmt.Errorf("schedule: node %s: interval %v is under a millisecond", c.in.Node.Name, interval)
	}
	if interval%time.Millisecond != 0 {
		return nil, fmt.Errorf("schedule: node %s: interval %v: times are counted in milliseconds: use a whole number of "+
			"them", c.in.Node.Name, interval)
	}
	if kind > WallClock {
		return nil, fmt.Errorf("schedule: node %s: unknown kind of time %d: use StreamTime or WallClock", c.in.Node.Name,
			kind)
	}
	var from int64
	if !start.IsZero() {
		from = start.UnixMilli()
	}
	call := func(now int64) error { return c.orFailed(f(now)) }
	return c.in.Env.Punctuator.Schedule(c.in, kind, from, interval.Milliseconds(), call), nil
}

// Metadata is where the record being processed came from; ok is false in punctuation and while a store's
// changes are flushed.
func (c *Context[K, V]) Metadata() (m Metadata, ok bool) {
	if c.in.Env.Source == nil {
		return Metadata{Partition: -1, Offset: -1}, false
	}
	return c.in.Env.Source.Metadata(), true
}

// StreamTime is the highest timestamp that the task has taken from its inputs, or Unknown. Behind a repartition it goes
// no further than all tasks that write there have come.
func (c *Context[K, V]) StreamTime() int64 { return c.in.Env.StreamTime }

// WallTime is the task's wall clock, in milliseconds; it is read once per step, not per record.
func (c *Context[K, V]) WallTime() int64 { return c.in.Env.WallTime }

// ApplicationID is the application's id.
func (c *Context[K, V]) ApplicationID() string { return c.in.Env.ApplicationID }

// Task names the task: sub-topology and partition.
func (c *Context[K, V]) Task() (subtopology int, partition int32) {
	return c.in.Env.Subtopology, c.in.Env.Partition
}
