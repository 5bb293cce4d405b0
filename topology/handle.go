package topology

import (
	"slices"

	"thalweg/internal/invariant"
	"thalweg/serde"
	"thalweg/state"
)

// Handle is a node of a [Builder], typed by the records that it forwards. Its methods add nodes behind it. It is a
// small value.
//
// Its methods have type parameters of their own, which are inferred. So the compiler makes code for the methods that a
// program calls, and not for all methods of every type of handle.
type Handle[K, V any] struct {
	b      *Builder
	nodes  []*Node        // several: see Merge
	keys   serde.Serde[K] // those that the records came with; nil: by type
	values serde.Serde[V]
	inner  *repartition // of Repartition: what its settings change
}

// HandleOf is the handle of a node, or of several, that a language over b has added itself. The serdes are those that
// its records came with, or nil.
func HandleOf[K, V any](b *Builder, keys serde.Serde[K], values serde.Serde[V], nodes ...*Node) Handle[K, V] {
	return Handle[K, V]{b: b, nodes: nodes, keys: keys, values: values}
}

// NodesOf is what a handle stands for: see [HandleOf].
func NodesOf[K, V any](h Handle[K, V]) (b *Builder, keys serde.Serde[K], values serde.Serde[V], nodes []*Node) {
	return h.b, h.keys, h.values, h.nodes
}

// Process adds a processor: p makes one for each task. The stores are those that it opens, and it can't open others;
// several processors may share one.
func (h Handle[K, V]) Process[KO, VO any, P Processor[K, V, KO, VO]](
	name string, p func() P, stores ...state.Store,
) Handle[KO, VO] {
	n := NewProcessor(name, caller(), stores, MakerOf[K, V, KO, VO](p))
	return Handle[KO, VO]{b: h.b, nodes: []*Node{must(h.b, n.Site).add(n, h.nodes)}}
}

// ProcessValues is Process for a processor that keeps keys: what it forwards for a record goes on under the record's
// key.
func (h Handle[K, V]) ProcessValues[VO any, P Processor[K, V, K, VO]](
	name string, p func() P, stores ...state.Store,
) Handle[K, VO] {
	n := NewValueProcessor(name, caller(), stores, MakerOf[K, V, K, VO](p))
	return Handle[K, VO]{b: h.b, nodes: []*Node{must(h.b, n.Site).add(n, h.nodes)}, keys: h.keys}
}

// ByKey says that a processor brings equal keys of its inputs together, and those of earlier nodes with which it shares
// a store: the topics that they come from must then have equal numbers of partitions.
func (h Handle[K, V]) ByKey[H Handle[K, V]]() Handle[K, V] {
	byKey(h.b, h.nodes, caller())
	return h
}

func byKey(b *Builder, nodes []*Node, site string) {
	b = must(b, site)
	for _, n := range nodes {
		if n.Kind != KindProcessor {
			b.fail(site, "ByKey is a setting of Process and ProcessValues: call it on what they returned")
			continue
		}
		n.ByKey = true
		for _, o := range b.nodes[:slices.Index(b.nodes, n)] {
			if slices.ContainsFunc(o.Stores, func(s state.Store) bool { return n.opens(s.Name()) }) {
				n.Beside = append(n.Beside, o)
			}
		}
	}
}

// Merge is several nodes as the parents of what follows. It adds no node.
func (h Handle[K, V]) Merge[H Handle[K, V]](others ...H) Handle[K, V] {
	site := caller()
	b, nodes := must(h.b, site), slices.Clone(h.nodes)
	h.inner = nil
	for _, other := range others {
		o := Handle[K, V](other)
		if o.b != b {
			b.fail(site, "Merge: a handle was made by another builder")
			continue
		}
		for _, n := range o.nodes {
			if !slices.Contains(nodes, n) {
				nodes = append(nodes, n)
			}
		}
		if !Same(h.keys, o.keys) {
			h.keys = nil
		}
		if !Same(h.values, o.values) {
			h.values = nil
		}
	}
	h.nodes = nodes
	return h
}

// Sink writes the records to a topic. The result is for the sink's settings.
func (h Handle[K, V]) Sink[T Topic[K, V]](name string, t T) Sink[K, V] {
	site, c := caller(), SinkOf(Topic[K, V](t))
	b := must(h.b, site)
	n := b.add(NewSink(name, site, c), h.nodes)
	b.coded = append(b.coded, n)
	return Sink[K, V]{n, c}
}

// Sink is a sink of a [Builder], for its settings.
type Sink[K, V any] struct {
	n *Node
	c SinkConfig[K, V]
}

// TopicOf makes each record go to the topic that f names, which must be there; records for which f returns "" go to the
// sink's own topic, which also says how all of them are encoded and partitioned.
func (s Sink[K, V]) TopicOf[F ~func(r *Record[K, V]) string](f F) Sink[K, V] {
	s.c.TopicOf = func(_ *Call, r *Record[K, V]) (string, error) { return f(r), nil }
	s.n.Make, s.n.RecordsNameTopic = NewSink("", "", s.c).Make, true
	return s
}

// must is the handle's builder.
func must(b *Builder, site string) *Builder {
	if b == nil {
		invariant.Misuse("%s: the handle is a zero value: take one that Source, Process or Repartition returned", site)
	}
	return b
}
