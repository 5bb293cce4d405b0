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
	t.n.needs("GroupBy", f == nil)
	return groupTable(t.n, name, pairOfTwo(f))
}

func groupTable[K, V, K2, V2 any](
	parent *node, name string, f func(*topology.Call, K, V) (K2, V2, error),
) GroupedTable[K2, V2] {
	t := parent.builder().newInner(caller(), "GroupBy", name)
	keys, values := serde.ForTopic[K2](), serde.ForTopic[V2]()
	parent.needOld()
	by := t.byKey(parent, "group-table", op.GroupTable(f))
	by.Keys, t.keyed = keys, append(t.keyed, by)
	repartition(t, keys, changes(values), by)
	return GroupedTable[K2, V2]{n: t.source, keys: keys, values: values}
}

// changes encodes changes of rows.
func changes[V any](values serde.Serde[V]) serde.Serde[topology.Change[V]] {
	return op.ChangeSerde[V]{Values: values}
}

// Named names the repartition in metrics, drawings and error texts.
func (g GroupedTable[K, V]) Named[N ~string](name N) GroupedTable[K, V] {
	g.n.named(string(name))
	return g
}

// Partitions sets how many partitions the topic of the repartition has.
func (g GroupedTable[K, V]) Partitions[N ~int | ~int32](count N) GroupedTable[K, V] {
	g.n.partitioned(int(count))
	return g
}

// Keys sets the serde of the keys in the topic of the repartition.
func (g GroupedTable[K, V]) Keys[S serde.Serde[K]](keys S) GroupedTable[K, V] {
	g.keys = keys
	g.n.encodeKeys(g.keys)
	return g
}

// Values sets the serde of the values in the topic of the repartition.
func (g GroupedTable[K, V]) Values[S serde.Serde[V]](values S) GroupedTable[K, V] {
	if g.n.mustHaveSerde("Values", values) {
		g.values = values
		g.n.encodeValues(changes(g.values))
	}
	return g
}

// Emit says when results are emitted; otherwise as [Builder.Emit] does.
func (g GroupedTable[K, V]) Emit[E Emit](e E) GroupedTable[K, V] { g.emit = Emit(e); return g }

// Count counts the rows of each group. A group that has become empty stays, with 0.
func (g GroupedTable[K, V]) Count[S state.KV[K, int64]](st S) Table[K, int64] {
	return aggregateTable(g, "count", state.KV[K, int64](st), op.StepFold[K, V](1), op.StepFold[K, V](-1))
}

// Reduce combines the rows of each group: add takes a row in, sub takes one out.
func (g GroupedTable[K, V]) Reduce[S state.KV[K, V]](st S, add, sub func(V, V) V) Table[K, V] {
	g.n.needs("Reduce", add == nil, sub == nil)
	return aggregateTable(g, "reduce", state.KV[K, V](st), op.ReduceFold(ofValues[K](add)),
		op.ReduceFold(ofValues[K](sub)))
}

// Aggregate adds the rows of each group to what initial returned: add takes a row in, sub takes one out.
func (g GroupedTable[K, V]) Aggregate[A any](
	st state.KV[K, A], initial func() A, add, sub func(K, V, A) A,
) Table[K, A] {
	g.n.needs("Aggregate", initial == nil, add == nil, sub == nil)
	return aggregateTable(g, "aggregate", st, op.AggregateFold(initial, ofThree(add)),
		op.AggregateFold(initial, ofThree(sub)))
}

func aggregateTable[K, V, A any](
	g GroupedTable[K, V], method string, st state.KV[K, A], add, sub op.Fold[K, V, A],
) Table[K, A] {
	n := &node{}
	st = st.Inherit(g.keys, inherited(method, g.values))
	return groupedTable(n, g, method, st, op.AggregateTable(st, add, sub, n.rows(g.emit)))
}

// groupedTable adds the node that keeps an aggregate of groups.
func groupedTable[K, V, A any](
	n *node, g GroupedTable[K, V], method string, st state.KV[K, A], keep topology.Make,
) Table[K, A] {
	site, b := caller(), g.n.builder()
	g.emit.mustNotClose(b, site, methodOf(method))
	b.put(n, method, method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, Make: keep,
	}, g.n)
	b.own(n, st)
	mustLive(b, site, methodOf(method), st)
	return stored(n, st)
}
