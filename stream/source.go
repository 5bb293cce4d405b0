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
	var c topology.SourceConfig[K, V]
	if len(topics) > 0 {
		c = topics[0].source()
		c.Topics = nil
	}
	names := make([]string, len(topics))
	for i, t := range topics {
		t.check(b, site, op)
		names[i] = t.name
		c.Topics = append(c.Topics, topology.Topic{Name: t.name})
		if i > 0 && (!same(t.keys, topics[0].keys) || !same(t.values, topics[0].values) || t.reset != topics[0].reset ||
			t.timestamps != nil || topics[0].timestamps != nil) {
			b.fail(site, "%s: topics %s and %s are read in different ways: read them one by one and merge the streams", op,
				topics[0].name, t.name)
		}
	}
	if len(topics) == 0 {
		b.fail(site, "%s: name a topic", op)
		return b.add("source", "", topology.NewSource("", site, c), nil...), serde.For[K](), serde.For[V]()
	}
	t := topics[0]
	id := strings.Join(names, ",")
	for _, n := range b.sources[id] {
		if o, ok := n.read.(Topic[K, V]); ok && o.readsAs(t) {
			return n, t.keys, t.values
		}
	}
	n := b.add("source", b.free("source-"+strings.Join(names, "-")), topology.NewSource("", site, c))
	n.op, n.read = op, t
	b.sources[id] = append(b.sources[id], n)
	return n, t.keys, t.values
}

// globalSource adds the source of a global store. Each has one of its own, since each is somewhere else in the topic.
func globalSource[K, V any](b *Builder, site, op string, t Topic[K, V], st state.Store) *node {
	t.check(b, site, op)
	n := b.add("source", b.free("source-"+t.name+"-"+st.Name()), topology.NewSource("", site, t.source()))
	n.op, n.Global = op, true
	b.own(st, site)
	return n
}

// source is how the topic is read.
func (t Topic[K, V]) source() topology.SourceConfig[K, V] {
	c := topology.SourceConfig[K, V]{
		Topics: []topology.Topic{{Name: t.name}}, Keys: t.keys, Values: t.values, Reset: t.reset,
	}
	if f := t.timestamps; f != nil {
		c.Timestamps = func(r topology.Record[K, V], _ int64) int64 { return f(r) }
	}
	return c
}

// readsAs tells whether both are certainly read in the same way.
func (t Topic[K, V]) readsAs(o Topic[K, V]) bool {
	return t.timestamps == nil && o.timestamps == nil && t.reset == o.reset && same(t.keys, o.keys) &&
		same(t.values, o.values)
}

// same tells whether two serdes are certainly equal.
func same[T any](a, b serde.Serde[T]) bool { return topology.Same(a, b) }

// free is the name, or the name with an ordinal where there is a node of that name already.
func (b *Builder) free(name string) string {
	if !slices.ContainsFunc(b.nodes, func(n *node) bool { return n.Name == name }) {
		return name
	}
	b.ordinal[name]++
	return b.free(name + "-" + string(rune('1'+b.ordinal[name])))
}
