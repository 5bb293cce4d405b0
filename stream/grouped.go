package stream

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Grouped is a stream whose records of one key belong together.
type Grouped[K, V any] struct {
	s     Stream[K, V]
	emit  Emit
	moved bool // GroupBy made it, with a topic
}

// GroupByKey groups records by the key that they have.
func (s Stream[K, V]) GroupByKey[G Grouped[K, V]]() Grouped[K, V] {
	s.n.mustBeByKey("GroupByKey", caller())
	return Grouped[K, V]{s: s}
}

// GroupBy gives each record another key and groups by it: through a repartition of that name, which is durable.
func (s Stream[K, V]) GroupBy[K2 any](name string, key func(K, V) K2) Grouped[K2, V] {
	s.n.needs("GroupBy", key == nil)
	return groupBy(s, name, ofTwo(key))
}

func groupBy[K, V, K2 any](s Stream[K, V], name string, key func(*topology.Call, K, V) (K2, error)) Grouped[K2, V] {
	t := s.n.builder().newInner(caller(), "GroupBy", name)
	keys, values := serdesOr[K2](nil, s.values)
	repartition(t, keys, values, t.byKey(s.n, "select-key", op.SelectKey(key)))
	return Grouped[K2, V]{s: Stream[K2, V]{t.source, keys, values}, moved: true}
}

// Named names the repartition of a [Stream.GroupBy] in metrics, drawings and error texts.
func (g Grouped[K, V]) Named[N ~string](name N) Grouped[K, V] {
	if g.s.n.mustBeMoved("Named", g.moved) {
		g.s.n.named(string(name))
	}
	return g
}

// Partitions sets how many partitions the topic of a [Stream.GroupBy] has.
func (g Grouped[K, V]) Partitions[N ~int | ~int32](count N) Grouped[K, V] {
	if g.s.n.mustBeMoved("Partitions", g.moved) {
		g.s.n.partitioned(int(count))
	}
	return g
}

// Keys sets the serde of the keys in the topic of a [Stream.GroupBy].
func (g Grouped[K, V]) Keys[S serde.Serde[K]](keys S) Grouped[K, V] {
	if g.s.n.mustBeMoved("Keys", g.moved) {
		g.s = g.s.Keys(keys)
	}
	return g
}

// Values sets the serde of the values in the topic of a [Stream.GroupBy].
func (g Grouped[K, V]) Values[S serde.Serde[V]](values S) Grouped[K, V] {
	if g.s.n.mustBeMoved("Values", g.moved) {
		g.s = g.s.Values(values)
	}
	return g
}

// mustBeMoved refuses settings of a topic where GroupByKey has made none.
func (n *node) mustBeMoved(method string, moved bool) bool {
	if b := n.builder(); !moved {
		b.fail(caller(), "%s: GroupByKey adds nothing to the topology: set it on the stream before it", method)
	}
	return moved
}

// Emit says when results are emitted; otherwise as [Builder.Emit] does.
func (g Grouped[K, V]) Emit[E Emit](e E) Grouped[K, V] { g.emit = Emit(e); return g }

// Count counts the records of each key.
func (g Grouped[K, V]) Count[S state.KV[K, int64]](store S) Table[K, int64] {
	st := state.KV[K, int64](store).Inherit(g.s.keys, nil)
	t := aggregate(g, "count", st, op.CountFold[K, V]())
	if st.Spec().TTL == 0 { // else each record has a result of its own
		t.n.combined = &topology.Combined{
			Write: op.CountInto[K, V](), Values: serde.For[int64](),
			Read: topology.NewSource("", "", topology.SourceConfig[K, int64]{}).Make,
			Fold: op.Aggregate(st, op.SumFold[K](), op.Rows{Pace: &t.n.pace, Old: &t.n.old}),
		}
	}
	return t
}

// Reduce combines the values of each key. The first is taken as it is; a nil result deletes the row.
func (g Grouped[K, V]) Reduce[S state.KV[K, V]](st S, f func(V, V) V) Table[K, V] {
	g.s.n.needs("Reduce", f == nil)
	return aggregate(g, "reduce", state.KV[K, V](st), op.ReduceFold(ofValues[K](f)))
}

// Aggregate adds the records of each key to what initial returned. A nil result deletes the row, and the next record of
// the key begins anew.
func (g Grouped[K, V]) Aggregate[A any](st state.KV[K, A], initial func() A, add func(K, V, A) A) Table[K, A] {
	g.s.n.needs("Aggregate", initial == nil, add == nil)
	return aggregate(g, "aggregate", st, op.AggregateFold(initial, ofThree(add)))
}

func aggregate[K, V, A any](g Grouped[K, V], method string, st state.KV[K, A], fold op.Fold[K, V, A]) Table[K, A] {
	n, site, b := &node{}, caller(), g.s.n.builder()
	st = st.Inherit(g.s.keys, inherited(method, g.s.values))
	g.emit.mustNotClose(b, site, methodOf(method))
	b.put(n, method, method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true,
		Make: op.Aggregate(st, fold, n.rows(g.emit)),
	}, g.s.n)
	b.own(n, st)
	checkTTL(b, site, st)
	return stored(n, st)
}

// inherited is the serde that the store of an aggregate may take for its values, where the types are the same. A count
// takes none: it is not one of the values.
func inherited(method string, values any) any {
	if method == "count" {
		return nil
	}
	return values
}
