package stream

import (
	"strconv"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Cogrouped is several grouped streams that are added to one aggregate.
type Cogrouped[K, A any] struct {
	b      *Builder
	inputs []cogroupInput[K, A]
	keys   serde.Serde[K] // of the first stream
	emit   Emit
}

// cogroupInput adds one stream's node, which writes the shared store without telling of it unless at once.
type cogroupInput[K, A any] struct {
	n        *node
	plain    func(st state.KV[K, A], initial func() A, rows op.Rows) topology.Make
	windows  func(c cogroupWindows[K, A]) topology.Make
	sessions func(c cogroupSessions[K, A]) topology.Make
}

type cogroupWindows[K, A any] struct {
	w         Window
	st        state.Windowed[K, A]
	retention int64
	initial   func() A
	closing   op.Closing
	input     int
	inputs    int
}

type cogroupSessions[K, A any] struct {
	spec      SessionSpec
	st        state.Session[K, A]
	retention int64
	initial   func() A
	merge     func(*topology.Call, K, A, A) (A, error)
	closing   op.Closing
	input     int
	inputs    int
}

// Cogroup begins an aggregate of several streams with this one.
func (g Grouped[K, V]) Cogroup[A any](add func(K, V, A) A) Cogrouped[K, A] {
	c := Cogrouped[K, A]{b: g.s.n.builder(), keys: g.s.keys, emit: g.emit}
	c.b.needs("Cogroup", add == nil)
	return cogroupWith(c, g, ofThree(add))
}

// builder is the cogroup's: see [node.builder].
func (c Cogrouped[K, A]) builder() *Builder {
	if c.b == nil {
		(*node)(nil).builder()
	}
	return c.b
}

// With adds a stream to the aggregate.
func (c Cogrouped[K, A]) With[V any](g Grouped[K, V], add func(K, V, A) A) Cogrouped[K, A] {
	c.builder().needs("With", add == nil)
	return cogroupWith(c, g, ofThree(add))
}

func cogroupWith[K, V, A any](
	c Cogrouped[K, A], g Grouped[K, V], add func(*topology.Call, K, V, A) (A, error),
) Cogrouped[K, A] {
	c.builder()
	sees := serde.IsNilable[V]()
	in := cogroupInput[K, A]{n: g.s.n}
	in.plain = func(st state.KV[K, A], initial func() A, rows op.Rows) topology.Make {
		return op.Aggregate(st, op.AggregateFold(initial, add), rows)
	}
	in.windows = func(c cogroupWindows[K, A]) topology.Make {
		return windowMake(c.w, op.WindowConfig[K, V, A]{
			Windows: c.w.spec(), Store: c.st, Retention: c.retention, Fold: op.AggregateFold(c.initial, add),
			TakesNull: sees, Closing: c.closing, Input: c.input, Inputs: c.inputs,
		})
	}
	in.sessions = func(c cogroupSessions[K, A]) topology.Make {
		return op.AggregateSessions(op.SessionConfig[K, V, A]{
			Gap: c.spec.gap.Milliseconds(), Grace: c.spec.grace.Milliseconds(), Store: c.st, Retention: c.retention,
			Initial: op.Initial(c.initial), Fold: op.AggregateFold(c.initial, add), Merge: c.merge, TakesNull: sees,
			Closing: c.closing, Input: c.input, Inputs: c.inputs,
		})
	}
	c.inputs = append(c.inputs[:len(c.inputs):len(c.inputs)], in)
	return c
}

// Emit says when results are emitted; otherwise as [Builder.Emit] does.
func (c Cogrouped[K, A]) Emit[E Emit](e E) Cogrouped[K, A] { c.emit = Emit(e); return c }

// Aggregate adds the records of all the streams to what initial returned. A nil result deletes the row.
func (c Cogrouped[K, A]) Aggregate[S state.KV[K, A]](store S, initial func() A) Table[K, A] {
	st := state.KV[K, A](store).Inherit(c.keys, nil)
	n, site, b := &node{}, caller(), c.builder()
	b.needs("Aggregate", initial == nil)
	c.emit.mustNotClose(b, site, "Aggregate")
	rows := n.rows(c.emit)
	rows.Silent = true
	cogroup(c, n, site, st, func(in cogroupInput[K, A], _ int) topology.Make { return in.plain(st, initial, rows) },
		op.Emit(st, rows))
	mustLive(b, site, "Cogroup", st)
	return stored(n, st)
}

// cogroup adds a node for each stream, and one that emits the rows.
func cogroup[K, A any](
	c Cogrouped[K, A], n *node, site string, st state.Store, input func(cogroupInput[K, A], int) topology.Make,
	tell topology.Make,
) {
	var parents []*node
	for i, in := range c.inputs {
		number := strconv.Itoa(i + 1)
		part := c.b.addPart(n, number, "cogroup-"+st.Name()+"-"+number, &topology.Node{
			Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, Make: input(in, i),
		}, in.n)
		part.op = "Cogroup"
		parents = append(parents, part)
	}
	c.b.put(n, "cogroup", "cogroup-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, Make: tell,
	}, parents...)
	c.b.own(n, st)
}

// WindowedCogroup is a cogroup cut into windows.
type WindowedCogroup[K, A any] struct {
	c Cogrouped[K, A]
	w Window
}

// Windowed cuts the cogroup into windows.
func (c Cogrouped[K, A]) Windowed[W Window](w W) WindowedCogroup[K, A] {
	Window(w).check(c.builder(), caller())
	return WindowedCogroup[K, A]{c, Window(w)}
}

// Emit says when results are emitted; otherwise as [Builder.Emit] does. A cogroup does not emit windows on close: use
// Suppress.
func (c WindowedCogroup[K, A]) Emit[E Emit](e E) WindowedCogroup[K, A] { c.c.emit = Emit(e); return c }

// Aggregate adds the records of all the streams, per key and window, to what initial returned.
func (c WindowedCogroup[K, A]) Aggregate[S state.Windowed[K, A]](store S, initial func() A) WindowTable[K, A] {
	n, site, b := &node{}, caller(), c.c.builder()
	b.needs("Aggregate", initial == nil)
	keep, st := c.w.keep(b, site, state.Windowed[K, A](store).Inherit(c.c.keys, nil))
	closing := cogroupClosing(b, c.c.emit, n, site)
	cogroup(c.c, n, site, st, func(in cogroupInput[K, A], i int) topology.Make {
		return in.windows(cogroupWindows[K, A]{c.w, st, keep.Milliseconds(), initial, closing, i, len(c.c.inputs)})
	}, op.EmitWindows(st, c.w.spec(), closing))
	n.Facts = c.w.facts(st.Name())
	return windowTable(n, st, c.w)
}

func cogroupClosing(b *Builder, emit Emit, n *node, site string) op.Closing {
	if emit == OnClose {
		b.fail(site, "Aggregate: a cogroup does not emit windows on close: use Suppress(UntilWindowCloses(name))")
	}
	emit.mustBeKnown(b, site, "Aggregate")
	rows := n.rows(emit)
	rows.Silent = true
	return op.Closing{Rows: rows}
}

// SessionCogroup is a cogroup cut into sessions.
type SessionCogroup[K, A any] struct {
	c    Cogrouped[K, A]
	spec SessionSpec
}

// Sessions cuts the cogroup into sessions.
func (c Cogrouped[K, A]) Sessions[S SessionSpec](s S) SessionCogroup[K, A] {
	SessionSpec(s).check(c.builder(), caller())
	return SessionCogroup[K, A]{c, SessionSpec(s)}
}

// Emit says when results are emitted; otherwise as [Builder.Emit] does. A cogroup does not emit sessions on close: use
// Suppress.
func (c SessionCogroup[K, A]) Emit[E Emit](e E) SessionCogroup[K, A] { c.c.emit = Emit(e); return c }

// Aggregate adds the records of all the streams, per session, to what initial returned; merge makes one aggregate of
// the sessions that a record bridges.
func (c SessionCogroup[K, A]) Aggregate[S state.Session[K, A]](
	store S, initial func() A, merge func(K, A, A) A,
) WindowTable[K, A] {
	c.c.builder().needs("Aggregate", initial == nil, merge == nil)
	return sessionCogroup(c, state.Session[K, A](store), initial, ofThree(merge))
}

func sessionCogroup[K, A any](
	c SessionCogroup[K, A], st state.Session[K, A], initial func() A,
	merge func(*topology.Call, K, A, A) (A, error),
) WindowTable[K, A] {
	n, site, b := &node{}, caller(), c.c.builder()
	keep, st := c.spec.keep(b, site, st.Inherit(c.c.keys, nil))
	closing := cogroupClosing(b, c.c.emit, n, site)
	cogroup(c.c, n, site, st, func(in cogroupInput[K, A], i int) topology.Make {
		return in.sessions(
			cogroupSessions[K, A]{c.spec, st, keep.Milliseconds(), initial, merge, closing, i, len(c.c.inputs)})
	}, op.EmitSessions(st, closing))
	return sessionTable(n, st, c.spec)
}
