package plan

import "thalweg/topology"

// combineCounts lets the sink of a repartition write how many records of each key there were, where a count is all
// that reads its topic.
func combineCounts(g *graph) {
	for _, n := range g.nodes {
		if n.Combined == nil || len(n.Parents()) != 1 {
			continue
		}
		source := n.Parents()[0]
		if source.Kind != topology.KindSource || len(source.Topics) != 1 || !source.Topics[0].Repartition ||
			len(source.Children()) != 1 {
			continue
		}
		sink := g.only(source)
		if sink == nil {
			continue
		}
		sink.Make, source.Make, n.Make = n.Combined.Write, n.Combined.Read, n.Combined.Fold
		sink.Values, source.Values = n.Combined.Values, n.Combined.Values
		sink.Combined = n.Combined
		g.did(CombineCounts, "%q (%s) holds partial counts for %s (%s)", sink.Sink.Name, sink.Site, n.Name, n.Site)
	}
}

// only is the one sink that writes the topic of a source that alone reads it; nil where there are more.
func (g *graph) only(source *topology.Node) (sink *topology.Node) {
	topic := source.Topics[0]
	for _, n := range g.nodes {
		switch {
		case n.Kind == topology.KindSource && n != source && len(n.Topics) > 0 && n.Topics[0] == topic:
			return nil
		case n.Kind == topology.KindSink && n.Sink == topic && sink != nil:
			return nil
		case n.Kind == topology.KindSink && n.Sink == topic:
			sink = n
		}
	}
	return sink
}
