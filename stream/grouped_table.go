package stream

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// GroupedTable is a table whose rows belong to groups. When a row changes or moves, its group is told what it was
// before, so that aggregates stay right.
type GroupedTable[K, V any] struct {
	n      *node // changes of rows, under the key of their group
	keys   serde.Serde[K]
	values serde.Serde[V]
	emit   Emit
}

// GroupBy puts each row into a group: through a repartition of that name. A nil key or value is in no group.
func (t Table[K, V]) GroupBy[K2, V2 any](name string, f func(K, V) (K2, V2)) GroupedTable[K2, V2] {
	return groupTable(t.n, name, pairOfTwo(f))
}

func groupTable[K, V, K2, V2 any](
	parent *node, name string, f func(*topology.Call, K, V) (K2, V2, error),
) GroupedTable[K2, V2] {
	site := caller()
	keys, values := serde.ForTopic[K2](), serde.ForTopic[V2]()
	checkSerdes(parent.b, site, "GroupBy "+name, keys, values)
	parent.needOld()
	n := parent.then("group-table", op.GroupTable(f, keys)).moves("GroupBy")
	n = repartition(n, "GroupBy", name, topology.TopicName{Name: name, Repartition: true}, keys,
		serde.Serde[topology.Change[V2]](op.ChangeSerde[V2]{Values: values}))
	return GroupedTable[K2, V2]{n: n, keys: keys, values: values}
}

// Emit says when results are told; otherwise [OnCommit].
func (g GroupedTable[K, V]) Emit[E Emit](e E) GroupedTable[K, V] { g.emit = Emit(e); return g }

// Count counts the rows of each group. A group that has become empty stays, with 0.
func (g GroupedTable[K, V]) Count[S state.KV[K, int64]](st S) Table[K, int64] {
	return aggregateTable(g, "count", state.KV[K, int64](st), op.StepFold[K, V](1), op.StepFold[K, V](-1))
}

// Reduce combines the rows of each group: add takes a row in, sub takes one out.
func (g GroupedTable[K, V]) Reduce[S state.KV[K, V]](st S, add, sub func(V, V) V) Table[K, V] {
	return aggregateTable(g, "reduce", state.KV[K, V](st), op.ReduceFold(ofValues[K](add)),
		op.ReduceFold(ofValues[K](sub)))
}

// Aggregate adds the rows of each group to what initial returned: add takes a row in, sub takes one out.
func (g GroupedTable[K, V]) Aggregate[A any](
	st state.KV[K, A], initial func() A, add, sub func(K, V, A) A,
) Table[K, A] {
	return aggregateTable(g, "aggregate", st, op.AggregateFold(initial, ofThree(add)),
		op.AggregateFold(initial, ofThree(sub)))
}

func aggregateTable[K, V, A any](
	g GroupedTable[K, V], method string, st state.KV[K, A], add, sub op.Fold[K, V, A],
) Table[K, A] {
	n, site := &node{}, caller()
	g.emit.mustNotClose(g.n.b, site, method)
	g.n.b.put(n, method, method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true,
		Make: op.AggregateTable(st, add, sub, op.Rows{OnUpdate: g.emit == OnUpdate, Old: &n.old}),
	}, g.n)
	g.n.b.own(st, site)
	mustLive(g.n.b, site, method, st)
	return stored(n, st)
}
