package topology

import (
	"errors"
	"fmt"
	"slices"

	"thalweg/serde"
	"thalweg/state"
)

// Builder makes a topology of sources, processors, stores and sinks, node by node: see the package comment. It is used
// by one goroutine.
type Builder struct {
	nodes  []*Node
	coded  []*Node // sources and sinks whose serdes Build checks
	errs   []error
	finish func(errs []error) (*Topology, error)
}

// NewBuilder returns an empty builder.
func NewBuilder() *Builder {
	b := &Builder{}
	b.finish = func(errs []error) (*Topology, error) {
		if len(b.nodes) == 0 && len(errs) == 0 {
			return nil, errors.New("topology: the builder is empty: begin with Source")
		}
		t, err := New(Clone(b.nodes))
		if err := errors.Join(append(errs, err)...); err != nil {
			return nil, err
		}
		return t, nil
	}
	return b
}

// NewBuilderFor is NewBuilder for a language that adds nodes of its own: Build calls finish with the mistakes that it
// has found.
func NewBuilderFor(finish func(errs []error) (*Topology, error)) *Builder {
	return &Builder{finish: finish}
}

// Build checks what was built and returns it as a topology. It reports all mistakes at once, each with the line that
// made it.
func (b *Builder) Build() (*Topology, error) {
	errs := slices.Clone(b.errs)
	for _, n := range b.coded {
		errs = append(errs, n.checkSerdes()...)
	}
	return b.finish(errs)
}

// Add adds a node that was made and connected elsewhere.
func (b *Builder) Add(n *Node) { b.nodes = append(b.nodes, n) }

// Nodes are all nodes so far, in the order in which they were made. The slice is the builder's own.
func (b *Builder) Nodes() []*Node { return b.nodes }

// Source reads one topic, or several that have the same types and settings.
func (b *Builder) Source[K, V any](name string, topics ...Topic[K, V]) Handle[K, V] {
	site := caller()
	var c SourceConfig[K, V]
	for i, t := range topics {
		one := SourceOf(t)
		if i == 0 {
			c = one
			continue
		}
		if !ReadAlike(c, one) {
			b.fail(site, "node %q: topics %s and %s are read in different ways: make a source for each", name,
				topics[0].Name(), t.Name())
		}
		c.Topics = append(c.Topics, one.Topics...)
	}
	n := b.add(NewSource(name, site, c), nil)
	if len(topics) > 0 {
		b.coded = append(b.coded, n)
	}
	return Handle[K, V]{b: b, nodes: []*Node{n}, keys: c.Keys, values: c.Values}
}

// GlobalStore fills a store that every task of the process reads, store.Read(context.Globals()): p makes a processor
// for each process, which takes all records of the topic, opens the store and forwards nothing. It sees records again
// only when the store on disk was lost.
func (b *Builder) GlobalStore[K, V any, P Processor[K, V, struct{}, struct{}]](
	name string, t Topic[K, V], p func() P, st state.Store,
) {
	site := caller()
	source := b.add(NewSource(name+"-source", site, SourceOf(t)), nil)
	b.coded = append(b.coded, source)
	n := b.add(NewProcessor(name, site, []state.Store{st}, MakerOf[K, V, struct{}, struct{}](p)), []*Node{source})
	source.Global, n.Global = true, true
}

// add puts a node behind its parents.
func (b *Builder) add(n *Node, parents []*Node) *Node {
	if n.Name == "" {
		b.fail(n.Site, "the %s has no name: give each node a name of its own", n.Kind)
	}
	for _, p := range parents {
		p.Connect(n)
	}
	b.nodes = append(b.nodes, n)
	return n
}

// fail records a mistake in the call that site made.
func (b *Builder) fail(site, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%s: %w", site, fmt.Errorf(format, args...)))
}

// checkSerdes reports serdes of a source or a sink that can't work.
func (n *Node) checkSerdes() (errs []error) {
	if n.Keys == nil || n.Values == nil {
		return []error{fmt.Errorf("%s: node %q: it has no serdes: make its topic with NewTopic", n.Site, n.Name)}
	}
	for _, s := range []struct {
		what  string
		serde any
	}{{"key", n.Keys}, {"value", n.Values}} {
		if err := serde.Check(s.serde); err != nil {
			errs = append(errs, fmt.Errorf("%s: node %q: %s: %w", n.Site, n.Name, s.what, err))
		}
	}
	return errs
}
