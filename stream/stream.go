package stream

import (
	"iter"

	"thalweg/serde"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Stream is a sequence of records, each of which stands for itself. It is a small value.
type Stream[K, V any] struct {
	n *node
	// What the records came with, for topics of the application's own; nil where an operator has made the type anew.
	keys   serde.Serde[K]
	values serde.Serde[V]
}

// Named names the operator that made the stream, in metrics, drawings and error texts. Otherwise its name is made of
// what it hangs on and its kind.
func (s Stream[K, V]) Named[N ~string](name N) Stream[K, V] {
	s.n.named(string(name))
	return s
}

// Filter keeps the records for which keep holds. Where V has no nil, a null value passes and keep is not called:
// deletions get through. [Stream.DropNulls] leaves them out.
func (s Stream[K, V]) Filter[F ~func(K, V) bool](keep F) Stream[K, V] {
	s.n.needs("Filter", keep == nil)
	return Stream[K, V]{s.n.then("filter", op.Filter(ofTwo[K, V, bool](keep), true)), s.keys, s.values}
}

// FilterNot drops the records for which drop holds. Where V has no nil, a null value passes: see [Stream.Filter].
func (s Stream[K, V]) FilterNot[F ~func(K, V) bool](drop F) Stream[K, V] {
	s.n.needs("FilterNot", drop == nil)
	return Stream[K, V]{s.n.then("filter-not", op.Filter(ofTwo[K, V, bool](drop), false)), s.keys, s.values}
}

// DropNulls leaves out the records with null values. They are what the program does not want, so they are not counted
// as dropped.
func (s Stream[K, V]) DropNulls[S Stream[K, V]]() Stream[K, V] {
	return Stream[K, V]{s.n.then("drop-nulls", op.DropNulls[K, V]()), s.keys, s.values}
}

// Map makes another record of each. The key may change: see the package comment on keys and partitions.
func (s Stream[K, V]) Map[K2, V2 any](f func(K, V) (K2, V2)) Stream[K2, V2] {
	s.n.needs("Map", f == nil)
	return Stream[K2, V2]{n: s.n.then("map", op.Map(pairOfTwo(f))).moves("Map")}
}

// MapValues replaces each value. Where V has no nil, a null value stays null and f is not called.
func (s Stream[K, V]) MapValues[V2 any](f func(V) V2) Stream[K, V2] {
	s.n.needs("MapValues", f == nil)
	return Stream[K, V2]{n: s.n.then("map-values", op.MapValues(ofValue[K](f))), keys: s.keys}
}

// SelectKey gives each record another key.
func (s Stream[K, V]) SelectKey[K2 any](f func(K, V) K2) Stream[K2, V] {
	s.n.needs("SelectKey", f == nil)
	return Stream[K2, V]{n: s.n.then("select-key", op.SelectKey(ofTwo(f))).moves("SelectKey"), values: s.values}
}

// FlatMap makes any number of records of each.
func (s Stream[K, V]) FlatMap[K2, V2 any](f func(K, V) iter.Seq2[K2, V2]) Stream[K2, V2] {
	s.n.needs("FlatMap", f == nil)
	return Stream[K2, V2]{n: s.n.then("flat-map", op.FlatMap(ofTwo(f))).moves("FlatMap")}
}

// FlatMapValues makes any number of records of each, under the same key.
func (s Stream[K, V]) FlatMapValues[V2 any](f func(V) iter.Seq[V2]) Stream[K, V2] {
	s.n.needs("FlatMapValues", f == nil)
	n := s.n.then("flat-map-values", op.FlatMapValues(ofValue[K](f)))
	return Stream[K, V2]{n: n, keys: s.keys}
}

// Peek shows each record to look and passes it on. Where V has no nil, a record with a null value passes unseen.
func (s Stream[K, V]) Peek[F ~func(K, V)](look F) Stream[K, V] {
	s.n.needs("Peek", look == nil)
	return Stream[K, V]{s.n.then("peek", op.Peek(seeing[K, V](look))), s.keys, s.values}
}

// Merge is this stream and others in one. Nothing is said about the order of records of different streams.
func (s Stream[K, V]) Merge[S Stream[K, V]](others ...S) Stream[K, V] {
	b, parents := s.n.builder(), []*node{s.n}
	for _, other := range others {
		o := Stream[K, V](other)
		parents = append(parents, o.n)
		if !same(s.keys, o.keys) {
			s.keys = nil
		}
		if !same(s.values, o.values) {
			s.values = nil
		}
	}
	t := &topology.Node{Kind: topology.KindProcessor, Site: caller(), Make: op.Pass[K, V]()}
	return Stream[K, V]{b.add("merge", "", t, parents...), s.keys, s.values}
}

// Split sends each record to the stream of the first predicate that holds for it: the streams are returned in the
// order of the predicates, and after them the stream of the records for which none holds.
func (s Stream[K, V]) Split[F ~func(K, V) bool](when ...F) []Stream[K, V] {
	predicates := make([]func(*topology.Call, K, V) (bool, error), len(when))
	for i, w := range when {
		s.n.needs("Split", w == nil)
		predicates[i] = ofTwo[K, V, bool](w)
	}
	return split(s, predicates)
}

func split[K, V any](s Stream[K, V], when []func(*topology.Call, K, V) (bool, error)) []Stream[K, V] {
	n := s.n.then("split", op.Split(when))
	branches := make([]Stream[K, V], len(when)+1)
	for i := range branches {
		branches[i] = Stream[K, V]{n.then("branch", op.Pass[K, V]()), s.keys, s.values}
	}
	return branches
}
