package stream

import (
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// SessionGroup is a grouped stream cut into sessions.
type SessionGroup[K, V any] struct {
	s     Stream[K, V]
	spec  SessionSpec
	emit  Emit
	quiet time.Duration
	late  *tap
}

// Sessions cuts the groups into sessions: records no more than a gap apart.
func (g Grouped[K, V]) Sessions[S SessionSpec](s S) SessionGroup[K, V] {
	SessionSpec(s).check(g.s.n.builder(), caller())
	return SessionGroup[K, V]{s: g.s, spec: SessionSpec(s), emit: g.emit, late: &tap{}}
}

// Emit says when results are emitted; otherwise as [Builder.Emit] does.
func (g SessionGroup[K, V]) Emit[E Emit](e E) SessionGroup[K, V] { g.emit = Emit(e); return g }

// CloseWhenIdle closes sessions although nothing comes in: see [WindowedGroup.CloseWhenIdle].
func (g SessionGroup[K, V]) CloseWhenIdle[D time.Duration](quiet D) SessionGroup[K, V] {
	g.quiet = time.Duration(quiet)
	return g
}

// Late is the stream of the records that are left out of the aggregation that the group is used for: see
// [WindowedGroup.Late].
func (g SessionGroup[K, V]) Late[S Stream[K, V]]() Stream[K, V] { return late(g.s, g.late) }

// Count counts the records of each session, those with null values too.
func (g SessionGroup[K, V]) Count[S state.Session[K, int64]](st S) WindowTable[K, int64] {
	add := func(_ *topology.Call, _ K, a, b int64) (int64, error) { return a + b, nil }
	return sessions(g, "count", state.Session[K, int64](st), op.NoInitial[int64], op.CountFold[K, V](), add, true)
}

// Reduce combines the values of each session. A nil result deletes the row.
func (g SessionGroup[K, V]) Reduce[S state.Session[K, V]](st S, f func(V, V) V) WindowTable[K, V] {
	g.s.n.needs("Reduce", f == nil)
	return reduceSessions(g, state.Session[K, V](st), ofValues[K](f))
}

func reduceSessions[K, V any](
	g SessionGroup[K, V], st state.Session[K, V], f func(*topology.Call, K, V, V) (V, error),
) WindowTable[K, V] {
	return sessions(g, "reduce", st, op.NoInitial[V], op.ReduceFold(f), f, serde.IsNilable[V]())
}

// Aggregate adds the records of each session to what initial returned. When a record bridges sessions, merge makes
// one of their aggregates, in order of time, beginning with a fresh one. A nil result deletes the row.
func (g SessionGroup[K, V]) Aggregate[A any](
	st state.Session[K, A], initial func() A, add func(K, V, A) A, merge func(K, A, A) A,
) WindowTable[K, A] {
	g.s.n.needs("Aggregate", initial == nil, add == nil, merge == nil)
	return aggregateSessions(g, st, initial, ofThree(add), ofThree(merge))
}

func aggregateSessions[K, V, A any](
	g SessionGroup[K, V], st state.Session[K, A], initial func() A, add func(*topology.Call, K, V, A) (A, error),
	merge func(*topology.Call, K, A, A) (A, error),
) WindowTable[K, A] {
	return sessions(g, "aggregate", st, op.Initial(initial), op.AggregateFold(initial, add), merge, serde.IsNilable[V]())
}

func sessions[K, V, A any](
	g SessionGroup[K, V], method string, st state.Session[K, A], initial func() (A, bool), fold op.Fold[K, V, A],
	merge func(*topology.Call, K, A, A) (A, error), takesNull bool,
) WindowTable[K, A] {
	n, site := &node{}, caller()
	b := g.s.n.builder()
	keep, st := g.spec.keep(b, site, st.Inherit(g.s.keys, inherited(method, g.s.values)))
	c := op.SessionConfig[K, V, A]{
		Gap: g.spec.gap.Milliseconds(), Grace: g.spec.grace.Milliseconds(), Store: st, Retention: keep.Milliseconds(),
		Initial: initial, Fold: fold, Merge: merge, TakesNull: takesNull,
		Closing: windowOutput{b, site, g.emit, g.quiet}.closing(n),
	}
	b.put(n, "session-"+method, "session-"+method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, Make: op.AggregateSessions(c),
		DelayMillis: heldFor(c.Closing, g.spec.gap, g.spec.grace),
	}, g.s.n)
	b.own(n, st)
	g.late.use(n)
	return sessionTable(n, st, g.spec)
}

// keep names the store with what the sessions need of it.
func (s SessionSpec) keep[K, A any](
	b *Builder, site string, st state.Session[K, A],
) (time.Duration, state.Session[K, A]) {
	keep := retention(b, site, st.Name(), st.Spec().Retention, sum(s.gap, s.grace))
	return keep, st.Retain(keep)
}

func sessionTable[K, A any](n *node, st state.Session[K, A], s SessionSpec) WindowTable[K, A] {
	return WindowTable[K, A]{
		n: n, view: op.SessionView(st), reads: []state.Store{st}, keys: st.KeySerde(), values: st.ValueSerde(),
		grace: sum(s.gap, s.grace), size: -1,
	}
}
