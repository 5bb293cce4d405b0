package topology

import (
	"fmt"
	"slices"
	"strings"
)

// Description is a topology as data, for people and tools. Its String is the text that Kafka Streams' users and tools
// know; it encodes to JSON as it is.
type Description struct {
	Subtopologies []SubtopologyDescription `json:"subtopologies"`
	// Globals are the parts that fill global stores: they run in each process, without tasks.
	Globals []SubtopologyDescription `json:"globals,omitempty"`
}

// SubtopologyDescription is what one task per partition runs.
type SubtopologyDescription struct {
	ID    int               `json:"id"`
	Nodes []NodeDescription `json:"nodes"`
}

// NodeDescription is one node; From and To are the names of its parents and children.
type NodeDescription struct {
	Kind   string             `json:"kind"`
	Name   string             `json:"name"`
	Topics []string           `json:"topics,omitempty"` // none on a sink: each record names its own
	Stores []StoreDescription `json:"stores,omitempty"`
	From   []string           `json:"from,omitempty"`
	To     []string           `json:"to,omitempty"`
	Site   string             `json:"site,omitempty"` // where the program made it
}

// StoreDescription is a store that a node reads or writes.
type StoreDescription struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

func (k Kind) String() string { return [...]string{"source", "processor", "sink"}[k] }

// String is the topic's name without an application: repartition topics end in "-repartition".
func (t TopicName) String() string {
	if t.Repartition {
		return t.Name + "-repartition"
	}
	return t.Name
}

// Describe tells what the topology is made of.
func (t *Topology) Describe() Description {
	return Description{Subtopologies: describeAll(t.subs), Globals: describeAll(t.globals)}
}

func describeAll(subs []*Subtopology) (all []SubtopologyDescription) {
	for _, s := range subs {
		d := SubtopologyDescription{ID: s.ID}
		for _, n := range s.Nodes {
			d.Nodes = append(d.Nodes, n.describe())
		}
		all = append(all, d)
	}
	return all
}

func (n *Node) describe() NodeDescription {
	d := NodeDescription{Kind: n.Kind.String(), Name: n.Name, Site: n.Site, From: names(n.parents), To: names(n.children)}
	for _, t := range n.Topics {
		d.Topics = append(d.Topics, t.String())
	}
	if n.Kind == KindSink && n.Sink.Name != "" {
		d.Topics = []string{n.Sink.String()}
	}
	for _, s := range n.Stores {
		d.Stores = append(d.Stores, StoreDescription{Name: s.Name(), Kind: s.Spec().Kind.String()})
	}
	return d
}

func names(nodes []*Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.Name
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// String is Kafka Streams' text form.
func (d Description) String() string {
	var b strings.Builder
	b.WriteString("Topologies:\n ")
	part := func(title string, s SubtopologyDescription) {
		b.WriteString(title)
		for _, n := range s.Nodes {
			n.text(&b)
		}
		b.WriteByte('\n')
	}
	for _, s := range d.Subtopologies {
		part(fmt.Sprintf("  Sub-topology: %d\n", s.ID), s)
	}
	for _, s := range d.Globals {
		part(fmt.Sprintf("  Sub-topology: %d for global-store (will not generate tasks)\n", len(d.Subtopologies)+s.ID), s)
	}
	return b.String()
}

func (n NodeDescription) text(b *strings.Builder) {
	switch n.Kind {
	case KindSource.String():
		fmt.Fprintf(b, "    Source: %s (topics: [%s])\n      --> %s\n", n.Name, strings.Join(n.Topics, ", "), list(n.To))
	case KindSink.String():
		topic := "topic: " + strings.Join(n.Topics, ", ")
		if len(n.Topics) == 0 {
			topic = "topic named by each record"
		}
		fmt.Fprintf(b, "    Sink: %s (%s)\n      <-- %s\n", n.Name, topic, list(n.From))
	default:
		stores := make([]string, len(n.Stores))
		for i, s := range n.Stores {
			stores[i] = s.Name
		}
		fmt.Fprintf(b, "    Processor: %s (stores: [%s])\n      --> %s\n      <-- %s\n", n.Name,
			strings.Join(stores, ", "), list(n.To), list(n.From))
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
