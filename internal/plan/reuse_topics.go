package plan

import "thalweg/topology"

// reuseTopics lets the store of a table be restored from the topic that the table is read from, where its rows are the
// topic's records. A topic serves one store, and one that is read with others, or is emptied behind the readers, none.
func reuseTopics(g *graph) {
	for _, n := range g.nodes {
		if !n.RowsAreRecords || len(n.Parents()) != 1 || n.Stores[0].Spec().Volatile {
			continue
		}
		source := n.Parents()[0]
		if source.Kind != topology.KindSource || source.RowsFromTopic != "" || source.Global ||
			len(source.Topics) != 1 || source.Topics[0].Repartition {
			continue
		}
		source.RowsFromTopic = n.Stores[0].Name()
		g.did(ReuseTopics, "store %q (%s) is restored from topic %q", n.Stores[0].Name(), n.Site, source.Topics[0].Name)
	}
}
