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

// Filter keeps the records for which keep holds.
func (s Stream[K, V]) Filter[F ~func(K, V) bool](keep F) Stream[K, V] {
	return Stream[K, V]{s.n.then("filter", op.Filter(ofTwo[K, V, bool](keep), true)), s.keys, s.values}
}

// FilterNot drops the records for which drop holds.
func (s Stream[K, V]) FilterNot[F ~func(K, V) bool](drop F) Stream[K, V] {
	return Stream[K, V]{s.n.then("filter-not", op.Filter(ofTwo[K, V, bool](drop), false)), s.keys, s.values}
}

// Map makes another record of each. The key may change: see the package comment on keys and partitions.
func (s Stream[K, V]) Map[K2, V2 any](f func(K, V) (K2, V2)) Stream[K2, V2] {
	return Stream[K2, V2]{n: s.n.then("map", op.Map(pairOfTwo(f))).moves("Map")}
}

// MapValues replaces each value.
func (s Stream[K, V]) MapValues[V2 any](f func(V) V2) Stream[K, V2] {
	return Stream[K, V2]{n: s.n.then("map-values", op.MapValues(ofValue[K](f))), keys: s.keys}
}

// MapValuesWithKey replaces each value, looking at the key too.
func (s Stream[K, V]) MapValuesWithKey[V2 any](f func(K, V) V2) Stream[K, V2] {
	return Stream[K, V2]{n: s.n.then("map-values", op.MapValues(ofTwo(f))), keys: s.keys}
}

// SelectKey gives each record another key.
func (s Stream[K, V]) SelectKey[K2 any](f func(K, V) K2) Stream[K2, V] {
	return Stream[K2, V]{n: s.n.then("select-key", op.SelectKey(ofTwo(f))).moves("SelectKey"), values: s.values}
}

// FlatMap makes any number of records of each.
func (s Stream[K, V]) FlatMap[K2, V2 any](f func(K, V) iter.Seq2[K2, V2]) Stream[K2, V2] {
	return Stream[K2, V2]{n: s.n.then("flat-map", op.FlatMap(ofTwo(f))).moves("FlatMap")}
}

// FlatMapValues makes any number of records of each, under the same key.
func (s Stream[K, V]) FlatMapValues[V2 any](f func(V) iter.Seq[V2]) Stream[K, V2] {
	n := s.n.then("flat-map-values", op.FlatMapValues(ofValue[K](f)))
	return Stream[K, V2]{n: n, keys: s.keys}
}

// FlatMapValuesWithKey makes any number of records of each, under the same key, looking at the key too.
func (s Stream[K, V]) FlatMapValuesWithKey[V2 any](f func(K, V) iter.Seq[V2]) Stream[K, V2] {
	return Stream[K, V2]{n: s.n.then("flat-map-values", op.FlatMapValues(ofTwo(f))), keys: s.keys}
}

// Peek shows each record to look and passes it on.
func (s Stream[K, V]) Peek[F ~func(K, V)](look F) Stream[K, V] {
	return Stream[K, V]{s.n.then("peek", op.Peek(seeing[K, V](look))), s.keys, s.values}
}

// ForEach ends a stream with a function of each record.
func (s Stream[K, V]) ForEach[F ~func(K, V)](f F) { s.n.then("for-each", op.Peek(seeing[K, V](f))) }

// Merge is this stream and others in one. Nothing is said about the order of records of different streams.
func (s Stream[K, V]) Merge[S Stream[K, V]](others ...S) Stream[K, V] {
	parents := []*node{s.n}
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
	return Stream[K, V]{s.n.b.add("merge", "", t, parents...), s.keys, s.values}
}

// Split sends each record to the stream of the first predicate that holds for it: the streams are returned in the
// order of the predicates, and after them the stream of the records for which none holds.
func (s Stream[K, V]) Split[F ~func(K, V) bool](when ...F) []Stream[K, V] {
	predicates := make([]func(*topology.Call, K, V) (bool, error), len(when))
	for i, w := range when {
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

// Partitions is how many partitions a repartition topic shall have.
type Partitions int32

// Repartition writes the records to a topic of the application's own and reads them from there, so that equal keys
// meet in one task. Its durable name is made of the application's id and name. Records without a key are dropped and
// counted, unless they go to a join that takes them. Without a number of partitions the topic gets as many as what it
// meets, or as the topics that the records came from.
func (s Stream[K, V]) Repartition[N ~string](name N, partitions ...Partitions) Stream[K, V] {
	return repartitioned(s, "Repartition", string(name), partitions)
}

func repartitioned[K, V any](s Stream[K, V], method, name string, partitions []Partitions) Stream[K, V] {
	site := caller()
	keys, values := serdesOr(s.keys, s.values)
	topic := topology.TopicName{Name: name, Repartition: true}
	for _, n := range partitions {
		topic.Partitions = int32(n)
		if n < 1 {
			s.n.b.fail(site, "%s: %d partitions: it takes one or more", method, n)
		}
	}
	return Stream[K, V]{repartition(s.n, method, name, topic, keys, values), keys, values}
}

// repartition adds the sink and the source of an internal topic, and returns the source.
func repartition[K, V any](
	parent *node, method, name string, topic topology.TopicName, keys serde.Serde[K], values serde.Serde[V],
) *node {
	b, site := parent.b, caller()
	if err := topology.CheckName(name); err != nil {
		b.fail(site, "%s: %w", method, err)
	}
	checkSerdes(b, site, method+" "+name, keys, values)
	b.add("repartition", b.free("repartition-"+name+"-sink"), topology.NewSink("", site, topology.SinkConfig[K, V]{
		Topic: topic, Keys: keys, Values: values,
	}), parent)
	n := b.add("repartition", b.free("repartition-"+name+"-source"), topology.NewSource("", site,
		topology.SourceConfig[K, V]{Topics: []topology.TopicName{topic}, Keys: keys, Values: values}))
	n.op = method
	return n
}

// To writes the records to a topic, which must be there.
func (s Stream[K, V]) To[T Topic[K, V]](topic T) {
	site, t := caller(), Topic[K, V](topic)
	checkTopic(s.n.b, site, "To", t)
	s.n.b.add("sink", s.n.b.free("sink-"+t.Name()), topology.NewSink("", site, topology.SinkOf(t)), s.n)
}

// ToDynamic writes each record to the topic that t names, which must be there.
func (s Stream[K, V]) ToDynamic[F ~func(K, V) string](t F) { toDynamic(s, ofTwo[K, V, string](t)) }

func toDynamic[K, V any](s Stream[K, V], t func(*topology.Call, K, V) (string, error)) {
	site := caller()
	keys, values := serdesOr(s.keys, s.values)
	checkSerdes(s.n.b, site, "ToDynamic", keys, values)
	s.n.b.add("sink", "", topology.NewSink("", site, topology.SinkConfig[K, V]{
		TopicOf: func(c *topology.Call, r *topology.Record[K, V]) (string, error) { return t(c, r.Key, r.Value) },
		Keys:    keys, Values: values,
	}), s.n)
}

// moves says that records may lie in another partition than their key's from here on.
func (n *node) moves(method string) *node {
	n.op, n.moved, n.ChangesKey = method, n, true
	return n
}
