package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// drawing is a graph under construction. Nodes that nothing is said of are pure and keep keys.
type drawing struct{ nodes []*topology.Node }

func (d *drawing) add(name string, n topology.Node, parents ...*topology.Node) *topology.Node {
	n.Name, n.Site = name, name+".go:1"
	if n.Make == nil {
		n.Make = func(*topology.Instance, []any) (any, error) { return nil, nil }
	}
	for _, p := range parents {
		p.Connect(&n)
	}
	d.nodes = append(d.nodes, &n)
	return &n
}

func (d *drawing) source(topic topology.TopicName) *topology.Node {
	return d.add("from-"+topic.Name, topology.Node{
		Kind: topology.KindSource, Topics: []topology.TopicName{topic}, Pure: true,
	})
}

func (d *drawing) pure(name string, parents ...*topology.Node) *topology.Node {
	return d.add(name, topology.Node{Kind: topology.KindProcessor, Pure: true}, parents...)
}

// through writes to a repartition topic and reads it.
func (d *drawing) through(topic topology.TopicName, parent *topology.Node) (sink, source *topology.Node) {
	topic.Repartition = true
	sink = d.add("to-"+topic.Name, topology.Node{
		Kind: topology.KindSink, Sink: topic, Keys: serde.For[string](), Values: serde.For[string](),
	}, parent)
	return sink, d.source(topic)
}

// String is a line for each node: its children, and what else a rule may change.
func (d *drawing) String() string {
	var b strings.Builder
	for _, n := range d.nodes {
		b.WriteString(n.Name)
		for _, s := range n.Stores {
			fmt.Fprintf(&b, " [%s]", s.Name())
		}
		if n.RowsFromTopic != "" {
			fmt.Fprintf(&b, " restores %s", n.RowsFromTopic)
		}
		if n.Combined != nil && n.Kind == topology.KindSink {
			b.WriteString(" combines")
		}
		b.WriteString(" →")
		for _, c := range n.Children() {
			b.WriteString(" " + c.Name)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func topic(name string) topology.TopicName { return topology.TopicName{Name: name} }

func rows(name string) state.Store { return state.NewKV[string, string](name) }

// Each rule does what it says to one graph, and nothing to those that lack what it needs.
func TestRules(t *testing.T) {
	// merge: a stream goes into two repartitions; change makes them unequal.
	merge := func(change func(d *drawing, stream, between, first, second *topology.Node)) func(*drawing) {
		return func(d *drawing) {
			stream := d.pure("stream", d.source(topic("in")))
			first, a := d.through(topic("a"), stream)
			between := d.pure("between", stream)
			second, b := d.through(topic("b"), between)
			d.pure("of-a", a)
			d.pure("of-b", b)
			change(d, stream, between, first, second)
		}
	}
	// reuse: a table of a topic.
	reuse := func(change func(source, table *topology.Node)) func(*drawing) {
		return func(d *drawing) {
			source := d.source(topic("in"))
			change(source, d.add("table", topology.Node{
				Kind: topology.KindProcessor, Stores: []state.Store{rows("rows")}, RowsAreRecords: true,
			}, source))
		}
	}
	// share: the join of two streams.
	share := func(one bool) func(*drawing) {
		return func(d *drawing) {
			stores := []state.Store{rows("lefts"), rows("rights")}
			left := d.source(topic("left"))
			right := left
			if !one {
				right = d.source(topic("right"))
			}
			l := d.add("join-left", topology.Node{Kind: topology.KindProcessor, Stores: stores}, left)
			l.Twin = d.add("join-right", topology.Node{Kind: topology.KindProcessor, Stores: stores}, right)
		}
	}
	// combine: a count behind a repartition.
	combine := func(change func(d *drawing, source *topology.Node)) func(*drawing) {
		return func(d *drawing) {
			_, source := d.through(topic("words"), d.source(topic("in")))
			d.add("count", topology.Node{Kind: topology.KindProcessor, Combined: &topology.Combined{}}, source)
			change(d, source)
		}
	}
	for _, c := range []struct {
		name  string
		rule  Rule
		build func(*drawing)
		want  string // empty: as it was
	}{
		{"repartitions of one stream", MergeRepartitions, merge(func(*drawing, *topology.Node, *topology.Node,
			*topology.Node, *topology.Node) {
		}), `from-in → stream
			stream → to-a
			to-a →
			from-a → of-a between
			between → of-b
			of-a →
			of-b →`},
		{"another key between", MergeRepartitions, merge(func(_ *drawing, _, between, _, _ *topology.Node) {
			between.ChangesKey = true
		}), ""},
		{"side effects between", MergeRepartitions, merge(func(_ *drawing, _, between, _, _ *topology.Node) {
			between.Pure = false
		}), ""},
		{"somebody else reads what is between", MergeRepartitions, merge(func(d *drawing, _, between, _, _ *topology.Node) {
			d.pure("other", between)
		}), ""},
		{"other numbers of partitions", MergeRepartitions, merge(func(_ *drawing, _, _, _, second *topology.Node) {
			second.Sink.Partitions = 7
		}), ""},
		{"null keys in one alone", MergeRepartitions, merge(func(_ *drawing, _, _, first, _ *topology.Node) {
			first.DropNullKeys = true
		}), ""},
		{"other keys", MergeRepartitions, merge(func(_ *drawing, _, _, first, _ *topology.Node) {
			first.Keys = serde.For[[]byte]()
		}), ""},
		{"a stream that names its children", MergeRepartitions, merge(func(_ *drawing, stream, _, _, _ *topology.Node) {
			stream.Pure = false
		}), ""},

		{"a table of a topic", ReuseTopics, reuse(func(_, _ *topology.Node) {}), `from-in restores rows → table
			table [rows] →`},
		{"other bytes", ReuseTopics, reuse(func(_, table *topology.Node) { table.RowsAreRecords = false }), ""},
		{"several topics", ReuseTopics, reuse(func(source, _ *topology.Node) {
			source.Topics = append(source.Topics, topic("more"))
		}), ""},
		{"a topic that is emptied", ReuseTopics, reuse(func(source, _ *topology.Node) {
			source.Topics[0].Repartition = true
		}), ""},
		{"a topic that serves another store", ReuseTopics, reuse(func(source, _ *topology.Node) {
			source.RowsFromTopic = "other"
		}), ""},
		{"a store without a changelog", ReuseTopics, reuse(func(_, table *topology.Node) {
			table.Stores[0] = state.NewKV[string, string]("rows").Volatile()
		}), ""},

		{"a stream with itself", ShareSelfJoins, share(true), `from-left → join-left join-right
			join-left [lefts] →
			join-right [lefts] →`},
		{"two streams", ShareSelfJoins, share(false), ""},

		{"a count", CombineCounts, combine(func(*drawing, *topology.Node) {}), `from-in → to-words
			to-words combines →
			from-words → count
			count →`},
		{"something else reads the records", CombineCounts, combine(func(d *drawing, source *topology.Node) {
			d.pure("other", source)
		}), ""},
		{"a source more of the topic", CombineCounts, combine(func(d *drawing, source *topology.Node) {
			d.add("again", topology.Node{Kind: topology.KindSource, Topics: source.Topics})
		}), ""},
	} {
		t.Run(c.rule.String()+"/"+c.name, func(t *testing.T) {
			var d drawing
			c.build(&d)
			before := d.String()
			var steps []Step
			d.nodes, steps = Optimize(d.nodes, c.rule)
			if c.want == "" {
				require.Empty(t, steps)
				require.Equal(t, before, d.String())
				return
			}
			require.Len(t, steps, 1)
			require.Equal(t, c.rule, steps[0].Rule)
			require.Equal(t, strings.ReplaceAll(c.want, "\t", "")+"\n", d.String())
			for _, other := range All() {
				if other == c.rule {
					continue
				}
				var o drawing
				c.build(&o)
				_, steps := Optimize(o.nodes, other)
				require.Empty(t, steps, other)
			}
		})
	}
}

// Repartitions that are joined with different topics of others must stay: each has the partitions of its own.
func TestMergedRepartitionsAgreeOnPartitions(t *testing.T) {
	build := func(a, b string) *drawing {
		var d drawing
		others := map[string]*topology.Node{"x": d.source(topic("x")), "y": d.source(topic("y"))}
		stream := d.pure("stream", d.source(topic("in")))
		for _, to := range []string{a, b} {
			name := fmt.Sprintf("r%d", len(d.nodes))
			_, read := d.through(topic(name), stream)
			d.add("join-"+name, topology.Node{Kind: topology.KindProcessor, ByKey: true}, read, others[to])
		}
		return &d
	}
	_, steps := Optimize(build("x", "x").nodes, MergeRepartitions)
	require.Len(t, steps, 1)
	_, steps = Optimize(build("x", "y").nodes, MergeRepartitions)
	require.Empty(t, steps)
}
