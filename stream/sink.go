package stream

import (
	"thalweg/serde"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Sink is the end of a stream, for its settings. It is a small value.
type Sink struct{ n *node }

// Named names the end of the stream in metrics, drawings and error texts.
func (s Sink) Named(name string) Sink { s.n.named(name); return s }

// ForEach ends a stream with a function of each record. Records whose null value f cannot see are left out: see
// [Stream.Filter].
func (s Stream[K, V]) ForEach[F ~func(K, V)](f F) Sink {
	s.n.needs("ForEach", f == nil)
	return Sink{s.n.then("for-each", op.Peek(seeing[K, V](f)))}
}

// To writes the records to a topic, which must exist. A null value is written as a null value: a tombstone.
func (s Stream[K, V]) To[T Topic[K, V]](topic T) Sink {
	site, t := caller(), Topic[K, V](topic)
	b := s.n.builder()
	name := b.topicName(site, "To", t.Name())
	c := topology.SinkOf(t)
	c.Topic.Name = name
	n := b.add("sink-"+name, "", topology.NewSink("", site, c), s.n)
	n.op = "To"
	return Sink{n}
}

// DynamicSink is the end of a stream whose records name their topics, for its settings. It is a small value.
type DynamicSink[K, V any] struct{ n *node }

// ToDynamic writes each record to the topic that t names, which must exist.
func (s Stream[K, V]) ToDynamic[F ~func(K, V) string](t F) DynamicSink[K, V] {
	s.n.needs("ToDynamic", t == nil)
	return toDynamic(s, ofTwo[K, V, string](t))
}

func toDynamic[K, V any](s Stream[K, V], t func(*topology.Call, K, V) (string, error)) DynamicSink[K, V] {
	site := caller()
	keys, values := serdesOr(s.keys, s.values)
	n := s.n.builder().add("sink", "", topology.NewSink("", site, topology.SinkConfig[K, V]{
		TopicOf: func(c *topology.Call, r *topology.Record[K, V]) (string, error) { return t(c, r.Key, r.Value) },
		Keys:    keys, Values: values,
	}), s.n)
	n.op = "ToDynamic"
	return DynamicSink[K, V]{n}
}

// Named names the node in metrics, drawings and error texts.
func (s DynamicSink[K, V]) Named[N ~string](name N) DynamicSink[K, V] {
	s.n.named(string(name))
	return s
}

// Keys sets the serde of the keys in the topics; otherwise it is the stream's.
func (s DynamicSink[K, V]) Keys[S serde.Serde[K]](keys S) DynamicSink[K, V] {
	if s.n.mustHaveSerde("Keys", keys) {
		s.n.Node.Keys = serde.Serde[K](keys)
	}
	return s
}

// Values sets the serde of the values in the topics; otherwise it is the stream's.
func (s DynamicSink[K, V]) Values[S serde.Serde[V]](values S) DynamicSink[K, V] {
	if s.n.mustHaveSerde("Values", values) {
		s.n.Node.Values = serde.Serde[V](values)
	}
	return s
}
