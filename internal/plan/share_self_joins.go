package plan

import "slices"

// shareSelfJoins lets both sides of an inner join that hang on the same node use the left side's buffer: they would
// hold the same records.
func shareSelfJoins(g *graph) {
	for _, n := range g.nodes {
		twin := n.Twin
		if twin == nil || len(n.Stores) != 2 || len(n.Parents()) != 1 || !slices.Equal(n.Parents(), twin.Parents()) {
			continue
		}
		g.did(ShareSelfJoins, "the join at %s does without store %q", n.Site, n.Stores[1].Name())
		n.LeftOut = append(n.LeftOut, n.Stores[1])
		n.Stores, twin.Stores = n.Stores[:1], twin.Stores[:1]
	}
}
