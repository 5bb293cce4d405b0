package topology

import (
	"fmt"
	"slices"
)

// Graph is a sub-topology built inside one task.
type Graph struct {
	Instances []*Instance // in topological order
	// Sources are the ports per input topic's durable name, in the order in which the sources were made.
	Sources map[string][]Source
}

// Build makes every node of subs in env, children before their parents. Several sub-topologies in one task are
// the test driver's way of running a whole topology on one partition.
func Build(env *Env, subs ...*Subtopology) (*Graph, error) {
	g := &Graph{Sources: map[string][]Source{}}
	env.shared, env.current, env.instances = map[string]any{}, 0, nil
	ports := map[*Node]any{}
	var nodes []*Node
	for _, s := range subs {
		nodes = append(nodes, s.Nodes...)
	}
	slices.SortStableFunc(nodes, func(a, b *Node) int { return a.id - b.id })
	for _, n := range slices.Backward(nodes) {
		in := env.instance(n)
		next := make([]any, len(n.children))
		for i, c := range n.children {
			next[i] = ports[c]
		}
		port, err := n.Make(in, next)
		if err != nil {
			return nil, fmt.Errorf("node %s (%s): %w", n.Name, n.Site, err)
		}
		ports[n] = port
		g.Instances = append(g.Instances, in)
	}
	slices.Reverse(g.Instances)
	for _, n := range nodes {
		if n.Kind != KindSource {
			continue
		}
		src, ok := ports[n].(Source)
		if !ok {
			return nil, fmt.Errorf("node %s (%s): a source must make a Source, not %T", n.Name, n.Site, ports[n])
		}
		for _, topic := range n.Topics {
			name := topic.In(env.ApplicationID)
			g.Sources[name] = append(g.Sources[name], src)
		}
	}
	return g, nil
}

// Expect are the nodes' Expect to which the keys go that the sources read.
func (g *Graph) Expect(sources []Source) (expect []func(keys [][]byte)) {
	instances := make(map[*Node]*Instance, len(g.Instances))
	for _, in := range g.Instances {
		instances[in.Node] = in
	}
	met := map[*Node]bool{}
	var visit func(n *Node)
	visit = func(n *Node) {
		in := instances[n]
		if in == nil || met[n] { // nil: in another sub-topology
			return
		}
		met[n] = true
		expect = append(expect, in.Expect...)
		if n.ChangesKey {
			return
		}
		for _, c := range n.children {
			visit(c)
		}
	}
	for _, s := range sources {
		visit(s.Instance().Node)
	}
	return expect
}
