package stream

import (
	"slices"
	"strings"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// Stream reads one topic or several of the same types. Where topics have different serdes, or their own way to say the
// time, read them one by one and merge.
func (b *Builder) Stream[K, V any](topics ...Topic[K, V]) Stream[K, V] {
	site := caller()
	n, keys, values := source(b, site, "Stream", topics)
	return Stream[K, V]{n: n, keys: keys, values: values}
}

// source adds a source node, or finds the one that reads the same in the same way.
func source[K, V any](b *Builder, site, op string, topics []Topic[K, V]) (*node, serde.Serde[K], serde.Serde[V]) {
	b.mustBeNew()
	if len(topics) == 0 {
		b.fail(site, "%s: name a topic", op)
		none := topology.SourceConfig[K, V]{Topics: []topology.TopicName{{Name: b.refused()}}, Keys: serde.For[K](),
			Values: serde.For[V]()}
		return b.add("source", "", topology.NewSource("", site, none)), none.Keys, none.Values
	}
	first := topology.SourceOf(topics[0])
	names := make([]string, len(topics))
	all := make([]topology.TopicName, len(topics))
	for i, t := range topics {
		names[i] = b.topicName(site, op, t.Name())
		all[i] = topology.TopicName{Name: names[i]}
		if slices.Contains(names[:i], names[i]) {
			b.fail(site, "%s: topic %s is named twice: each of its records would come twice", op, names[i])
		}
		if i > 0 && !topology.ReadAlike(first, topology.SourceOf(t)) {
			b.fail(site, "%s: topics %s and %s are read in different ways: read them one by one and merge the streams", op,
				names[0], names[i])
		}
	}
	first.Topics = all
	id := strings.Join(names, ",")
	for _, n := range b.sources[id] {
		if o, ok := n.read.(topology.SourceConfig[K, V]); ok && topology.ReadAlike(o, first) {
			return n, first.Keys, first.Values
		}
	}
	n := b.add("source", "source-"+strings.Join(names, "-"), topology.NewSource("", site, first))
	n.op, n.read = op, first
	b.sources[id] = append(b.sources[id], n)
	return n, first.Keys, first.Values
}

// globalSource adds the source of a global store. Each has one of its own, since each is somewhere else in the topic.
func globalSource[K, V any](b *Builder, site, op string, t Topic[K, V], st state.Store) *node {
	b.mustBeNew()
	c := topology.SourceOf(t)
	c.Topics[0].Name = b.topicName(site, op, t.Name())
	n := b.add("source", "source-"+c.Topics[0].Name+"-"+st.Name(), topology.NewSource("", site, c))
	n.op, n.Global = op, true
	b.own(n, st)
	return n
}

// same tells whether two serdes are certainly equal.
func same[T any](a, b serde.Serde[T]) bool { return topology.Same(a, b) }
