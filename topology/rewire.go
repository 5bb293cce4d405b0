package topology

import (
	"slices"

	"thalweg/serde"
)

// Clone copies nodes with the edges between them, so that the copies can be changed.
func Clone(nodes []*Node) []*Node {
	copies := make(map[*Node]*Node, len(nodes))
	clones := make([]*Node, len(nodes))
	for i, n := range nodes {
		c := *n
		clones[i], copies[n] = &c, &c
	}
	to := func(some []*Node) []*Node {
		some = slices.Clone(some)
		for i, n := range some {
			if c := copies[n]; c != nil {
				some[i] = c
			}
		}
		return some
	}
	for _, c := range clones {
		c.parents, c.children, c.Beside = to(c.parents), to(c.children), to(c.Beside)
		c.Stores = slices.Clone(c.Stores)
		if c.Twin != nil {
			c.Twin = copies[c.Twin]
		}
	}
	return clones
}

// Disconnect takes child from the children of n.
func (n *Node) Disconnect(child *Node) {
	without := func(some []*Node, one *Node) []*Node {
		return slices.DeleteFunc(slices.Clone(some), func(o *Node) bool { return o == one })
	}
	n.children, child.parents = without(n.children, child), without(child.parents, n)
}

// Same tells whether two serdes of nodes are certainly equal.
func Same(a, b any) bool { return serde.Same(a, b) }
