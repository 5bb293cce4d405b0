package stream

import (
	"slices"

	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Graph is the builder of this program's nodes, for parts that are easier to write as a graph of processors. What it
// adds becomes part of the same topology, and its Build is this builder's. [Builder.StreamOf] and [Builder.HandleOf]
// lead from one to the other.
func (b *Builder) Graph() *topology.Builder { return b.graph }

// StreamOf is a node of [Builder.Graph] as a stream. The key may have changed where a processor of the graph lies
// above: see the package comment on keys and partitions.
func (b *Builder) StreamOf[K, V any](h topology.Handle[K, V]) Stream[K, V] {
	site := caller()
	graph, keys, values, nodes := topology.NodesOf(h)
	var parents []*node
	if graph != b.graph {
		b.fail(site, "StreamOf: the handle was made by another builder")
		nodes = nil
	}
	for _, n := range nodes {
		parents = append(parents, b.wrap(n))
	}
	if len(parents) == 1 {
		return Stream[K, V]{parents[0], keys, values}
	}
	t := &topology.Node{Kind: topology.KindProcessor, Site: site, Make: op.Pass[K, V]()}
	return Stream[K, V]{b.add("merge", "", t, parents...), keys, values}
}

// HandleOf is a stream as a node of [Builder.Graph], to put processors and sinks behind it.
func (b *Builder) HandleOf[K, V any](s Stream[K, V]) topology.Handle[K, V] {
	if s.n.builder() != b {
		b.fail(caller(), "HandleOf: the stream was made by another builder")
		return topology.HandleOf(b.graph, s.keys, s.values)
	}
	return topology.HandleOf(b.graph, s.keys, s.values, s.n.Node)
}

// wrap is a node of the graph as a node of the language.
func (b *Builder) wrap(n *topology.Node) *node {
	if i := slices.IndexFunc(b.nodes, func(nd *node) bool { return nd.Node == n }); i >= 0 {
		return b.nodes[i]
	}
	if b.wrapped[n] == nil {
		name := place{given: n.Name, givenAt: n.Site}
		b.wrapped[n] = &node{Node: n, b: b, op: "node " + n.Name, place: name, moved: b.movedAt(n)}
	}
	return b.wrapped[n]
}

// movedAt is the nearest node, n or upstream of it, after which records may lie in another partition than their key's.
func (b *Builder) movedAt(n *topology.Node) *node {
	if i := slices.IndexFunc(b.nodes, func(nd *node) bool { return nd.Node == n }); i >= 0 {
		return b.nodes[i].moved
	}
	if n.ChangesKey {
		return &node{Node: n, b: b, op: "node " + n.Name}
	}
	for _, p := range n.Parents() {
		if moved := b.movedAt(p); moved != nil {
			return moved
		}
	}
	return nil
}
