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
	if len(topics) == 0 {
		b.fail(site, "%s: name a topic", op)
		none := topology.SourceConfig[K, V]{}
		return b.add("source", "", topology.NewSource("", site, none)), serde.For[K](), serde.For[V]()
	}
	first := topology.SourceOf(topics[0])
	names := make([]string, len(topics))
	all := make([]topology.TopicName, len(topics))
	for i, t := range topics {
		checkTopic(b, site, op, t)
		names[i] = t.Name()
		all[i] = topology.TopicName{Name: t.Name()}
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
	n := b.add("source", b.free("source-"+strings.Join(names, "-")), topology.NewSource("", site, first))
	n.op, n.read = op, first
	b.sources[id] = append(b.sources[id], n)
	return n, first.Keys, first.Values
}

// globalSource adds the source of a global store. Each has one of its own, since each is somewhere else in the topic.
func globalSource[K, V any](b *Builder, site, op string, t Topic[K, V], st state.Store) *node {
	checkTopic(b, site, op, t)
	n := b.add("source", b.free("source-"+t.Name()+"-"+st.Name()), topology.NewSource("", site, topology.SourceOf(t)))
	n.op, n.Global = op, true
	b.own(st, site)
	return n
}

// same tells whether two serdes are certainly equal.
func same[T any](a, b serde.Serde[T]) bool { return topology.Same(a, b) }

// free is the name, or the name with an ordinal where there is a node of that name already.
func (b *Builder) free(name string) string {
	if !slices.ContainsFunc(b.graph.Nodes(), func(n *topology.Node) bool { return n.Name == name }) {
		return name
	}
	b.ordinal[name]++
	return b.free(name + "-" + string(rune('1'+b.ordinal[name])))
}
