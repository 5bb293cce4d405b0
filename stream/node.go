package stream

import (
	"slices"
	"strings"
	"time"

	"thalweg/internal/invariant"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// node is a topology node with what the DSL needs to know of it until the program is built.
type node struct {
	*topology.Node
	b    *Builder
	op   string // the method that made it
	read any    // of a source: its topology.SourceConfig[K, V]

	place             // where its name comes from
	inner *innerTopic // of a source that reads a topic of the application's own

	// moved is the nearest node upstream after which records may lie in another partition than their key's; nil: none.
	moved *node

	emits    bool               // the node keeps rows and has an emit policy
	emit     Emit               // what the program says
	pace     op.Pace            // what follows from it; set by Build
	combined *topology.Combined // the Combined of a node that emits with the commit

	old     bool        // changes carry the old row
	askOld  func()      // makes the nodes upstream send old rows; nil: the node has them in a store of its own
	oldFree func() bool // with askOld: whether they can at no further cost
	keep    func()      // makes the node keep its rows, where it does so only when they are needed

	// recode is a func(serde.Serde[V]) Table[K, V] of a node whose store is internal: it changes the store's serde.
	recode any

	// filters emit deletions of rows that did not pass, whether there were such rows or not.
	filters bool

	// versioned tables emit rows that are not the newest, and can be read as of a time.
	versioned bool
	history   time.Duration
	// relaxed joins take null keys (KIP-962).
	relaxed bool
}

// builder is the node's. The node of a DSL value that no operator returned is nil.
func (n *node) builder() *Builder {
	if n == nil {
		invariant.Misuse("%s: this value is a zero value of its type: use what the builder or an operator returned", caller())
	}
	return n.b
}

// add puts a node into the graph as the next child of its parents. Without a fixed name it is named by its kind and
// its place.
func (b *Builder) add(kind, fixed string, n *topology.Node, parents ...*node) *node {
	nd := &node{}
	b.put(nd, kind, fixed, n, parents...)
	return nd
}

// addPart is add for one of the nodes of an operator: see [node.partOf].
func (b *Builder) addPart(of *node, suffix, fixed string, n *topology.Node, parents ...*node) *node {
	nd := &node{}
	nd.partOf(of, suffix)
	b.put(nd, of.kind, fixed, n, parents...)
	return nd
}

// put is add for a node that was needed before: its Make looks at it.
func (b *Builder) put(nd *node, kind, fixed string, n *topology.Node, parents ...*node) {
	nd.Node, nd.b, nd.op = n, b, methodOf(kind)
	nd.kind, nd.fixed = kind, fixed
	if nd.under == nil && len(parents) > 0 {
		nd.under = parents[0]
	}
	if nd.of == nil && fixed == "" {
		b.take(&nd.place)
	}
	for i, p := range parents {
		if slices.Contains(parents[:i], p) {
			continue // a stream merged with itself is one stream
		}
		if p.builder() != b {
			b.fail(n.Site, "%s: the other side was made by another builder", nd.op)
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

// methodOf is how the program calls a kind of node: MapValues for map-values, Count for window-count.
func methodOf(kind string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(kind, "window-"), "session-"), "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// then adds an operator after n.
func (n *node) then(kind string, m topology.Make) *node {
	return n.builder().add(kind, "", &topology.Node{Kind: topology.KindProcessor, Site: caller(), Make: m, Pure: true}, n)
}

// needs refuses functions that are nil.
func (n *node) needs(method string, isNil ...bool) {
	n.builder().needs(method, isNil...)
}

func (b *Builder) needs(method string, isNil ...bool) {
	if slices.Contains(isNil, true) {
		b.fail(caller(), "%s: a function is nil: pass one", method)
	}
}

// moves says that records may lie in another partition than their key's from here on.
func (n *node) moves(method string) *node {
	n.op, n.moved, n.ChangesKey = method, n, true
	return n
}

// mustBeByKey refuses to bring keys together that may lie in different partitions.
func (n *node) mustBeByKey(method, site string) {
	n.builder()
	if n.moved != nil {
		n.b.fail(site, "%s brings equal keys together, but %s (%s) may have changed the key: put Repartition(\"a name\") "+
			"between them", method, n.moved.op, n.moved.Site)
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
