package stream

import (
	"thalweg/serde"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Repartition writes the records to a topic of the application's own and reads them from there, so that equal keys
// meet in one task. Its durable name is made of the application's id and name. Records without a key are dropped and
// counted, unless they go to a join that takes them. [Stream.Partitions] sets the topic's number of partitions; without
// it the topic has as many as what it meets, or as the topics that the records came from.
func (s Stream[K, V]) Repartition[N ~string](name N) Stream[K, V] {
	return repartitioned(s, "Repartition", string(name))
}

// KeepsPartition asserts that each record is in its key's partition here, although an operator before it may have
// changed the key: where a Map leaves keys as they are, or the topic's records lie by what the key is made of. Keyed
// operators may follow without a Repartition. The partition of a key is the one that Kafka's default partitioner
// chooses.
//
// Where the assertion does not hold, equal keys are in several tasks, and results are wrong. Nothing checks it in
// production; package streamtest does for each record, when topics have several partitions.
func (s Stream[K, V]) KeepsPartition[S Stream[K, V]]() Stream[K, V] {
	keys, _ := serdesOr(s.keys, s.values)
	n := s.n.then("keeps-partition", op.KeepsPartition[K, V](keys))
	n.moved = nil
	n.Node.Keys, n.LaidByKey = keys, true
	return Stream[K, V]{n, s.keys, s.values}
}

func repartitioned[K, V any](s Stream[K, V], method, name string) Stream[K, V] {
	t := s.n.builder().newInner(caller(), method, name)
	keys, values := serdesOr(s.keys, s.values)
	repartition(t, keys, values, s.n)
	return Stream[K, V]{t.source, keys, values}
}

// repartition makes a topic of the application's own the one that records of these types go through.
func repartition[K, V any](t *innerTopic, keys serde.Serde[K], values serde.Serde[V], parents ...*node) {
	t.connect(
		topology.NewSink("", t.site, topology.SinkConfig[K, V]{Topic: t.topic(), Keys: keys, Values: values}),
		topology.NewSource("", t.site, topology.SourceConfig[K, V]{
			Topics: []topology.TopicName{t.topic()}, Keys: keys, Values: values,
		}), parents...)
}

// Partitions sets how many partitions the topic of a [Stream.Repartition] has.
func (s Stream[K, V]) Partitions[N ~int | ~int32](count N) Stream[K, V] {
	s.n.partitioned(int(count))
	return s
}

// Keys sets the serde with which the keys of the records are encoded from here on: in topics and buffers of the
// application's own. Directly behind [Stream.Repartition] it is the serde in its topic, too.
func (s Stream[K, V]) Keys[S serde.Serde[K]](keys S) Stream[K, V] {
	s.keys = keys
	s.n.encodeKeys(s.keys)
	return s
}

// Values sets the serde with which the values of the records are encoded from here on: see [Stream.Keys].
func (s Stream[K, V]) Values[S serde.Serde[V]](values S) Stream[K, V] {
	s.values = values
	s.n.encodeValues(s.values)
	return s
}
