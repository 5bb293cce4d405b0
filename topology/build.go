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
	env     *Env
}

// Seen is the node of [Env.Current] for any goroutine, while the task works: for a message about a call that does not
// come back. Where the task goes on meanwhile it is a node that was current a moment ago. It may be nil.
func (g *Graph) Seen() *Node {
	n := g.env.currentUnsynchronized()
	if n <= 0 || n > len(g.Instances) {
		return nil
	}
	return g.Instances[len(g.Instances)-n].Node // numbers go from the last one to the first
}

// Build makes every node of subs in env, children before their parents. Several sub-topologies in one task are
// the test driver's way of running a whole topology on one partition.
func Build(env *Env, subs ...*Subtopology) (*Graph, error) {
	g := &Graph{Sources: map[string][]Source{}, env: env}
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
	g.prefetchFlushed()
	return g, nil
}
