package topology

import (
	"math"

	"thalweg/serde"
)

// repartition is a topic of the application's own: the sink that writes it, and the source that reads it.
type repartition struct {
	topic        TopicName
	sink, source *Node
}

// Repartition writes the records to a topic of the application's own and reads them from there, so that equal keys meet
// in one task. Its durable name is made of the application's id and name; its nodes are <name>-sink and <name>-source.
// Without [Handle.Partitions] the topic gets as many as the topics that the records came from.
func (h Handle[K, V]) Repartition[N ~string](name N) Handle[K, V] {
	site := caller()
	b, text := must(h.b, site), string(name)
	r := &repartition{topic: TopicName{Name: text, Repartition: true}}
	keys, values := h.keys, h.values
	if keys == nil {
		keys = serde.ForTopic[K]()
	}
	if values == nil {
		values = serde.ForTopic[V]()
	}
	r.sink = b.add(&Node{Name: text + "-sink", Kind: KindSink, Site: site}, h.nodes)
	b.coded = append(b.coded, r.sink)
	r.source = b.add(&Node{Name: text + "-source", Kind: KindSource, Site: site}, nil)
	return carry(Handle[K, V]{b: b, nodes: []*Node{r.source}, inner: r}, keys, values)
}

// carry is the handle with serdes, which are those of its repartition, too.
func carry[K, V any](h Handle[K, V], keys serde.Serde[K], values serde.Serde[V]) Handle[K, V] {
	h.keys, h.values = keys, values
	r := h.inner
	if r == nil {
		return h
	}
	w := NewSink("", "", SinkConfig[K, V]{Topic: r.topic, Keys: keys, Values: values})
	r.sink.Make, r.sink.Sink, r.sink.Keys, r.sink.Values = w.Make, w.Sink, keys, values
	in := NewSource("", "", SourceConfig[K, V]{Topics: []TopicName{r.topic}, Keys: keys, Values: values})
	r.source.Make, r.source.Topics, r.source.Keys, r.source.Values = in.Make, in.Topics, keys, values
	return h
}

// Partitions is how many partitions the topic of a Repartition has.
func (h Handle[K, V]) Partitions[N ~int | ~int32](count N) Handle[K, V] {
	site := caller()
	b := must(h.b, site)
	switch {
	case h.inner == nil:
		b.fail(site, "Partitions is a setting of Repartition: call it on what Repartition returned")
		return h
	case count < 1 || int64(count) > math.MaxInt32:
		b.fail(site, "Partitions: repartition %q: %d partitions: it takes one or more, and %d at most", h.inner.topic.Name,
			count, math.MaxInt32)
		return h
	}
	h.inner.topic.Partitions = int32(count)
	return carry(h, h.keys, h.values)
}

// Keys is the serde of the records' keys from here on. Called on what Repartition returned, it is also the serde in
// that topic.
func (h Handle[K, V]) Keys[S serde.Serde[K]](s S) Handle[K, V] { return carry(h, s, h.values) }

// Values is the serde of the records' values from here on. Called on what Repartition returned, it is also the serde in
// that topic.
func (h Handle[K, V]) Values[S serde.Serde[V]](s S) Handle[K, V] { return carry(h, h.keys, s) }
