package stream

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"thalweg/internal/plan"
	"thalweg/state"
	"thalweg/topology"
)

// Topology is what Build returns.
type Topology = topology.Topology

// Builder gathers the operators of an application. It is used by one goroutine.
type Builder struct {
	graph   *topology.Builder // has the nodes, in the order in which they were made
	nodes   []*node
	ordinal map[string]int    // nodes so far, per kind of operator
	owned   map[string]string // store → where the operator that writes it was made
	sources map[string][]*node
	errs    []error
	rules   []plan.Rule
}

// NewBuilder returns an empty builder.
func NewBuilder() *Builder {
	b := &Builder{ordinal: map[string]int{}, owned: map[string]string{}, sources: map[string][]*node{}}
	b.graph = topology.NewBuilderFor(b.finish)
	return b
}

// Build checks what was built and returns it as a topology. Every mistake is reported, each with the line that made
// it.
func (b *Builder) Build() (*Topology, error) { return b.graph.Build() }

// finish makes the topology. The errors are the graph's.
func (b *Builder) finish(errs []error) (*Topology, error) {
	errs = slices.Concat(b.errs, errs)
	nodes := b.made()
	if len(nodes) == 0 && len(errs) == 0 {
		return nil, errors.New("stream: the builder is empty: begin with Stream or Table")
	}
	nodes, _ = plan.Optimize(nodes, b.rules...)
	t, err := topology.New(nodes)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return t, nil
}

// made are copies of the nodes.
func (b *Builder) made() []*topology.Node {
	b.dropNullKeys()
	return topology.Clone(b.graph.Nodes())
}

// fail records a mistake in the call that site made.
func (b *Builder) fail(site, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%s: %w", site, fmt.Errorf(format, args...)))
}

// own records that the operator made at site is the one that writes a store.
func (b *Builder) own(st state.Store, site string) {
	if o, ok := b.owned[st.Name()]; ok {
		b.fail(site, "store %q is written by another operator already (%s): give each a name of its own", st.Name(), o)
		return
	}
	b.owned[st.Name()] = site
}

// node is a topology node with what the language must know of it while a program is being written.
type node struct {
	*topology.Node
	b    *Builder
	op   string // the method that made it
	read any    // of a source: the Topic[K, V]

	// moved is the nearest node upstream after which records may lie in another partition than their key's; nil: none.
	moved *node

	old     bool        // changes carry the old row
	askOld  func()      // makes the nodes upstream send old rows; nil: the node has them in a store of its own
	oldFree func() bool // with askOld: whether they can without further ado
	keep    func()      // makes the node keep its rows, where it does so only when they are needed

	// filters tell deletions of rows that did not pass, be there any or not.
	filters bool

	// versioned tables tell rows that are not the newest, and can be read as of a time.
	versioned bool
	history   time.Duration
	// relaxed joins take null keys (KIP-962).
	relaxed bool
}

// add puts a node into the graph as the next child of its parents.
func (b *Builder) add(op, name string, n *topology.Node, parents ...*node) *node {
	nd := &node{}
	b.put(nd, op, name, n, parents...)
	return nd
}

// put is add for a node that was needed before: its Make looks at it.
func (b *Builder) put(nd *node, op, name string, n *topology.Node, parents ...*node) {
	if name == "" {
		b.ordinal[op]++
		name = fmt.Sprintf("%s-%d", op, b.ordinal[op])
	}
	n.Name = name
	nd.Node, nd.b, nd.op = n, b, op
	for i, p := range parents {
		if slices.Contains(parents[:i], p) {
			continue // a stream merged with itself is one stream
		}
		if p.b != b {
			b.fail(n.Site, "%s: the other side was made by another builder", op)
			continue
		}
		p.Connect(n)
		if nd.moved == nil {
			nd.moved = p.moved
		}
	}
	b.nodes = append(b.nodes, nd)
	b.graph.Add(n)
}

// then adds an operator after n.
func (n *node) then(op string, m topology.Make) *node {
	return n.b.add(op, "", &topology.Node{Kind: topology.KindProcessor, Site: caller(), Make: m, Pure: true}, n)
}

// mustBeByKey refuses to bring keys together that may lie in different partitions.
func (n *node) mustBeByKey(op, site string) {
	if n.moved != nil {
		n.b.fail(site, "%s brings equal keys together, but %s (%s) may have changed the key: put Repartition(\"a name\") "+
			"between them", op, n.moved.op, n.moved.Site)
	}
}

// needOld makes the node's changes carry old rows, from as far upstream as they are known.
func (n *node) needOld() {
	if n.old {
		return
	}
	n.old = true
	if n.askOld != nil {
		n.askOld()
	}
}

// oldForFree makes the node's changes carry old rows where that costs nothing more than is spent already.
func (n *node) oldForFree() bool {
	if !n.old && n.askOld != nil && !n.oldFree() {
		return false
	}
	n.needOld()
	return true
}

// dropNullKeys lets the sinks of repartitions leave out what has no key, except where a join downstream takes it.
func (b *Builder) dropNullKeys() {
	readers := map[topology.TopicName][]*topology.Node{}
	relaxed := map[*topology.Node]bool{}
	for _, n := range b.nodes {
		relaxed[n.Node] = n.relaxed
		for _, t := range n.Topics {
			readers[t] = append(readers[t], n.Node)
		}
	}
	seen := map[*topology.Node]bool{}
	var reaches func(n *topology.Node) bool
	reaches = func(n *topology.Node) bool {
		if relaxed[n] {
			return true
		}
		if seen[n] {
			return false
		}
		seen[n] = true
		next := n.Children()
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			next = readers[n.Sink]
		}
		for _, c := range next {
			if reaches(c) {
				return true
			}
		}
		return false
	}
	for _, n := range b.nodes {
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			clear(seen)
			n.DropNullKeys = !reaches(n.Node)
		}
	}
}
