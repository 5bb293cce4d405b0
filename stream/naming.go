package stream

import (
	"fmt"
	"hash/fnv"
	"strconv"

	"thalweg/topology"
)

// place is where the name of a node comes from. Names are those of metrics, drawings and error texts; nothing durable
// depends on them. They must not change when the program changes somewhere else, so no part of one is counted over the
// whole topology:
//
//   - a name that the program gives (Named), or
//   - a name that follows from a durable one, of a topic or a store: "count-by-word", or
//   - the parent's name and the kind of operator, with a number from the second of that kind under the parent on:
//     "source-lines.filter", "source-lines.filter-2".
//
// An operator of several nodes has one name; its other nodes add a suffix to it.
type place struct {
	kind    string // of operator
	fixed   string // follows from a durable name
	under   *node  // the first parent
	ordinal int    // among those of its kind under the parent, from 1

	of     *node // the node of the operator whose part this one is
	suffix string

	given, givenAt string // by the program, and the line where
}

// partOf makes n one of the nodes of the operator whose result is of.
func (n *node) partOf(of *node, suffix string) { n.of, n.suffix = of, suffix }

// take gives a place its number.
func (b *Builder) take(p *place) {
	of := siblings{p.under, p.kind}
	b.children[of]++
	p.ordinal = b.children[of]
}

// siblings are the nodes of one kind under one parent.
type siblings struct {
	under *node
	kind  string
}

// named is Named for each type that has it.
func (n *node) named(name string) {
	b, site := n.builder(), caller()
	switch other := b.given[name]; {
	case topology.CheckName(name) != nil:
		b.fail(site, "Named: %w", topology.CheckName(name))
	case n.given != "" && n.given != name:
		b.fail(site, "Named: %s (%s) is called %q already (%s)", n.op, n.Site, n.given, n.givenAt)
	case other != nil && other != n:
		b.fail(site, "Named: %s (%s) is called %q already (%s): give each a name of its own", other.op, other.Site, name,
			other.givenAt)
	default:
		n.given, n.givenAt = name, site
		b.given[name] = n
	}
}

// nameNodes sets the names of all nodes.
func (b *Builder) nameNodes() {
	for _, n := range b.nodes {
		n.Name = n.given
	}
	taken := map[string]bool{}
	for _, n := range b.graph.Nodes() {
		taken[n.Name] = true
	}
	for _, n := range b.nodes {
		n.setName(taken)
	}
}

func (n *node) setName(taken map[string]bool) string {
	if n.Name != "" {
		return n.Name
	}
	name := n.kind
	switch {
	case n.of != nil && (n.of.isGiven() || n.fixed == ""):
		name = n.of.setName(taken) + "-" + n.suffix
	case n.fixed != "":
		name = n.fixed
	default:
		if n.under != nil {
			name = n.under.setName(taken) + "." + name
		}
		if n.ordinal > 1 {
			name += "-" + strconv.Itoa(n.ordinal)
		}
	}
	n.Name = shorten(name)
	for i := 2; taken[n.Name]; i++ { // one that the program gave to another node, or two of topics that look alike
		n.Name = shorten(name) + "-" + strconv.Itoa(i)
	}
	taken[n.Name] = true
	return n.Name
}

// isGiven tells whether the program has named the operator.
func (n *node) isGiven() bool { return n.given != "" || n.of != nil && n.of.isGiven() }

// Names that follow from many others are cut.
const (
	nameBytesMax  = 160
	nameBytesKept = 60
)

// shorten replaces the middle of a long name by its hash.
func shorten(name string) string {
	if len(name) <= nameBytesMax {
		return name
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return fmt.Sprintf("%s-%08x-%s", name[:nameBytesKept], h.Sum32(), name[len(name)-nameBytesKept:])
}
