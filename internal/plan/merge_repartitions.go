package plan

import (
	"slices"

	"thalweg/topology"
)

// mergeRepartitions lets a repartition of a stream be read from another one of the same stream. What lies between the
// stream and the repartition that is given up runs behind the other one, so it must be pure and keep keys:
//
//	s ┬→ a        s → a ┬→ …
//	  └→ f → b              └→ f → …
//
// Both must agree on partitions: by the serde of keys, the number that is asked for, and what they are joined with.
func mergeRepartitions(g *graph) {
	readers := map[string]*topology.Node{}
	for _, n := range g.nodes {
		if n.Kind == topology.KindSource && len(n.Topics) == 1 && n.Topics[0].Repartition {
			readers[n.Topics[0].Name] = n
		}
	}
	fixed := fixedWith(g.nodes)
	for _, sink := range slices.Clone(g.nodes) {
		if sink.Kind != topology.KindSink || !sink.Sink.Repartition || len(sink.Parents()) != 1 {
			continue
		}
		between, from := between(sink)
		other := earlier(g.nodes, from, sink, len(between) == 0)
		if other == nil || readers[sink.Sink.Name] == nil || readers[other.Sink.Name] == nil ||
			!within(fixed[sink.Sink], fixed[other.Sink]) && !within(fixed[other.Sink], fixed[sink.Sink]) {
			continue
		}
		g.did(MergeRepartitions, "%q (%s) is read from %q (%s)", sink.Sink.Name, sink.Site, other.Sink.Name, other.Site)
		main, rest := readers[other.Sink.Name], readers[sink.Sink.Name]
		main.Serves = append(append(main.Serves, sink.Sink.Name), rest.Serves...)
		g.replace(sink, readers[sink.Sink.Name], readers[other.Sink.Name], between)
		both := append(fixed[other.Sink], fixed[sink.Sink]...)
		fixed[other.Sink] = both
	}
}

// between is what lies between a sink and the node that may write it elsewhere: pure nodes that keep keys, and lead
// nowhere else.
func between(sink *topology.Node) (some []*topology.Node, from *topology.Node) {
	from = sink.Parents()[0]
	for from.Kind == topology.KindProcessor && from.Pure && !from.ChangesKey && len(from.Children()) == 1 &&
		len(from.Parents()) == 1 {
		some = append([]*topology.Node{from}, some...)
		from = from.Parents()[0]
	}
	return some, from
}

// earlier is a repartition that from writes, made before sink and alike.
func earlier(nodes []*topology.Node, from, sink *topology.Node, sameValues bool) *topology.Node {
	if from.Kind != topology.KindSource && !from.Pure { // it may name its children
		return nil
	}
	for _, n := range from.Children() {
		if n == sink || n.Kind != topology.KindSink || !n.Sink.Repartition {
			continue
		}
		if slices.Index(nodes, n) < slices.Index(nodes, sink) && n.DropNullKeys == sink.DropNullKeys &&
			n.Sink.Partitions == sink.Sink.Partitions && topology.Same(n.Keys, sink.Keys) &&
			(!sameValues || topology.Same(n.Values, sink.Values)) {
			return n
		}
	}
	return nil
}

// replace takes a repartition out: what read it reads the other one, through what lay before it.
func (g *graph) replace(sink, reader, other *topology.Node, between []*topology.Node) {
	last := other
	if len(between) > 0 {
		first := between[0]
		first.Parents()[0].Disconnect(first)
		other.Connect(first)
		last = between[len(between)-1]
		last.Disconnect(sink)
	} else {
		sink.Parents()[0].Disconnect(sink)
	}
	for _, c := range slices.Clone(reader.Children()) {
		reader.Disconnect(c)
		last.Connect(c)
	}
	g.nodes = slices.DeleteFunc(g.nodes, func(n *topology.Node) bool { return n == sink || n == reader })
}

// fixedWith is, for each topic, those with a given number of partitions that its own must equal.
func fixedWith(nodes []*topology.Node) map[topology.TopicName][]topology.TopicName {
	fixed := map[topology.TopicName][]topology.TopicName{}
	t, err := topology.New(topology.Clone(nodes))
	if err != nil {
		return fixed // it is refused anyway
	}
	for _, s := range t.Subtopologies() {
		for _, group := range s.Copartitioned {
			for _, member := range group {
				for _, o := range group {
					if o != member && (!o.Repartition || o.Partitions > 0) {
						fixed[member] = append(fixed[member], o)
					}
				}
			}
		}
	}
	return fixed
}

// within tells whether all of some are among others.
func within(some, others []topology.TopicName) bool {
	return !slices.ContainsFunc(some, func(t topology.TopicName) bool { return !slices.Contains(others, t) })
}
