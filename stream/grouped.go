package stream

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Emit says when an aggregation tells of its results.
type Emit uint8

// The emit policies.
const (
	// OnCommit tells of each changed key once per commit: its newest result.
	OnCommit Emit = iota
	// OnUpdate tells of each step.
	OnUpdate
	// OnClose tells of a window once, when it is closed for good; for windows only.
	OnClose
)

func (e Emit) mustNotClose(b *Builder, site, method string) {
	if e == OnClose {
		b.fail(site, "%s: OnClose is for windows: put Windowed or Sessions before it, or use Suppress", method)
	}
}

// Grouped is a stream whose records of one key belong together.
type Grouped[K, V any] struct {
	s    Stream[K, V]
	emit Emit
}

// GroupByKey groups records by the key that they have.
func (s Stream[K, V]) GroupByKey[G Grouped[K, V]]() Grouped[K, V] {
	s.n.mustBeByKey("GroupByKey", caller())
	return Grouped[K, V]{s: s}
}

// GroupBy gives each record another key and groups by it: through a repartition of that name.
func (s Stream[K, V]) GroupBy[K2 any](name string, key func(K, V) K2) Grouped[K2, V] {
	to := Stream[K2, V]{n: s.n.then("select-key", op.SelectKey(ofTwo(key))).moves("GroupBy"), values: s.values}
	return Grouped[K2, V]{s: repartitioned(to, "GroupBy", name, nil)}
}

// Emit says when results are told; otherwise [OnCommit].
func (g Grouped[K, V]) Emit[E Emit](e E) Grouped[K, V] { g.emit = Emit(e); return g }

// Count counts the records of each key.
func (g Grouped[K, V]) Count[S state.KV[K, int64]](store S) Table[K, int64] {
	st := state.KV[K, int64](store)
	t := aggregate(g, "count", st, op.CountFold[K, V]())
	if g.emit == OnCommit && st.Spec().TTL == 0 { // else each record has a say of its own
		keys, n := g.s.keys, serde.For[int64]()
		t.n.Combined = &topology.Combined{
			Write: op.CountInto[K, V](keys), Values: n,
			Read: topology.NewSource("", "", topology.SourceConfig[K, int64]{Keys: keys, Values: n}).Make,
			Fold: op.Aggregate(st, op.SumFold[K](), op.Rows{Old: &t.n.old}),
		}
	}
	return t
}

// Reduce combines the values of each key. The first is taken as it is; a nil result deletes the row.
func (g Grouped[K, V]) Reduce[S state.KV[K, V]](st S, f func(V, V) V) Table[K, V] {
	return aggregate(g, "reduce", state.KV[K, V](st), op.ReduceFold(ofValues[K](f)))
}

// Aggregate adds the records of each key to what initial returned. A nil result deletes the row, and the next record of
// the key begins anew.
func (g Grouped[K, V]) Aggregate[A any](st state.KV[K, A], initial func() A, add func(K, V, A) A) Table[K, A] {
	return aggregate(g, "aggregate", st, op.AggregateFold(initial, ofThree(add)))
}

func aggregate[K, V, A any](g Grouped[K, V], method string, st state.KV[K, A], fold op.Fold[K, V, A]) Table[K, A] {
	n := &node{}
	site := caller()
	g.emit.mustNotClose(g.s.n.b, site, method)
	rows := op.Rows{OnUpdate: g.emit == OnUpdate, Old: &n.old}
	g.s.n.b.put(n, method, method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Make: op.Aggregate(st, fold, rows), Stores: []state.Store{st}, ByKey: true,
	}, g.s.n)
	g.s.n.b.own(st, site)
	checkTTL(g.s.n.b, site, st)
	return stored(n, st)
}
