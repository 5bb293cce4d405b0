package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// edge is a line of a drawing: dotted where it stands for a store or crosses a topic.
type edge struct {
	from, to string
	dotted   bool
}

// shape is a thing of a drawing.
type shape struct {
	id, label, kind string // kind: "node", "topic", "store"
}

// drawing is what both graph languages draw: nodes in sub-topologies, topics and stores beside them.
type drawing struct {
	groups [][]shape // nodes and stores per sub-topology
	topics []shape
	edges  []edge
}

func (d Description) drawing() drawing {
	var out drawing
	ids := map[string]string{}
	id := func(kind, name string) (string, bool) {
		key := kind + " " + name
		known := ids[key]
		if known == "" {
			ids[key] = kind[:1] + strconv.Itoa(len(ids))
		}
		return ids[key], known != ""
	}
	for _, s := range slices.Concat(d.Subtopologies, d.Globals) {
		var group []shape
		for _, n := range s.Nodes {
			self, _ := id("node", n.Name)
			group = append(group, shape{self, n.Name, "node"})
			for _, c := range n.To {
				to, _ := id("node", c)
				out.edges = append(out.edges, edge{self, to, false})
			}
			for _, st := range n.Stores {
				store, known := id("store", st.Name)
				if !known {
					group = append(group, shape{store, st.Name, "store"})
				}
				out.edges = append(out.edges, edge{self, store, true})
			}
			for _, t := range n.Topics {
				topic, known := id("topic", t)
				if !known {
					out.topics = append(out.topics, shape{topic, t, "topic"})
				}
				e := edge{topic, self, true}
				if n.Kind == KindSink.String() {
					e = edge{self, topic, true}
				}
				out.edges = append(out.edges, e)
			}
		}
		out.groups = append(out.groups, group)
	}
	return out
}

// title names a group of a drawing.
func (d Description) title(i int) string {
	if global := i - len(d.Subtopologies); global >= 0 {
		return fmt.Sprintf("global %d", global)
	}
	return fmt.Sprintf("sub-topology %d", d.Subtopologies[i].ID)
}

// DOT is the topology in Graphviz' language.
func (d Description) DOT() string {
	var b strings.Builder
	b.WriteString("digraph topology {\n  rankdir=TB\n  node [fontname=\"sans-serif\" shape=box style=rounded]\n")
	draw := func(indent string, s shape) {
		attr := map[string]string{
			"node": "", "topic": " shape=cds style=solid", "store": " shape=cylinder style=solid",
		}[s.kind]
		fmt.Fprintf(&b, "%s%s [label=%s%s]\n", indent, s.id, strconv.Quote(s.label), attr)
	}
	g := d.drawing()
	for i, group := range g.groups {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=\"%s\"\n", i, d.title(i))
		for _, s := range group {
			draw("    ", s)
		}
		b.WriteString("  }\n")
	}
	for _, s := range g.topics {
		draw("  ", s)
	}
	for _, e := range g.edges {
		attr := ""
		if e.dotted {
			attr = " [style=dashed]"
		}
		fmt.Fprintf(&b, "  %s -> %s%s\n", e.from, e.to, attr)
	}
	b.WriteString("}\n")
	return b.String()
}

// Mermaid is the topology in Mermaid's language, which many Markdown viewers draw.
func (d Description) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	draw := func(indent string, s shape) {
		ends := map[string][2]string{"node": {"[", "]"}, "topic": {"[/", "/]"}, "store": {"[(", ")]"}}[s.kind]
		fmt.Fprintf(&b, "%s%s%s\"%s\"%s\n", indent, s.id, ends[0], strings.ReplaceAll(s.label, `"`, "#quot;"), ends[1])
	}
	g := d.drawing()
	for i, group := range g.groups {
		fmt.Fprintf(&b, "  subgraph sub%d [\"%s\"]\n", i, d.title(i))
		for _, s := range group {
			draw("    ", s)
		}
		b.WriteString("  end\n")
	}
	for _, s := range g.topics {
		draw("  ", s)
	}
	for _, e := range g.edges {
		arrow := "-->"
		if e.dotted {
			arrow = "-.->"
		}
		fmt.Fprintf(&b, "  %s %s %s\n", e.from, arrow, e.to)
	}
	return b.String()
}
