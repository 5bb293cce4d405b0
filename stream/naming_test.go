package stream_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
)

func nodeNames(t *testing.T, b *stream.Builder) (names []string) {
	t.Helper()
	topo, err := b.Build()
	require.NoError(t, err)
	for _, n := range topo.Nodes() {
		names = append(names, n.Name)
	}
	return names
}

// branch is one operator of each kind behind a stream.
func branch(b *stream.Builder, s stream.Stream[string, string]) {
	s.Filter(every).Filter(every).To(out)
	s.Filter(every).MapValues(strings.ToUpper).To(out)
	parts := s.Split(every)
	parts[0].Merge(parts[1]).ForEach(nowhere)
	g := s.GroupBy("words", byValue)
	w := g.Windowed(minute())
	w.Late().ToDynamic(byValue)
	w.Count(state.NewWindowed[string, int64]("w")).ToStream(stream.WindowKey)
	table := b.Table(right, rights)
	s.JoinTable(table, concat)
	table.Join(b.Table(left, lefts), concat).Filter(every).ToStream()
	table.JoinForeign(b.Table(others, state.NewKV[string, string]("others")), named, "fk", concat).
		Suppress(stream.UntilTimeLimit(time.Second, "later"))
	s.Join(s.Filter(every), around(), "j", concat)
}

var legalName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// What hangs elsewhere, before it or after it, renames no node of a branch.
func TestNodeNamesDependOnTheirPlaceAlone(t *testing.T) {
	build := func(more func(b *stream.Builder)) []string {
		b := stream.NewBuilder()
		more(b)
		s := b.Stream(in)
		s.GroupByKey().Windowed(minute()).Count(state.NewWindowed[string, int64]("unused"))
		branch(b, s)
		b.Stream(stream.NewTopic[string, string]("last")).Filter(every).To(out)
		return slices.DeleteFunc(nodeNames(t, b), func(n string) bool { return strings.Contains(n, "more") })
	}
	want := build(func(*stream.Builder) {})
	require.Equal(t, want, build(func(b *stream.Builder) {
		s := b.Stream(stream.NewTopic[string, string]("more"))
		s.Filter(every).MapValues(strings.ToUpper).To(out)
		s.Filter(every).Merge(s).To(out)
		s.GroupBy("more", byValue).Count(countsOf("more"))
	}))
	for _, name := range want {
		require.Regexp(t, legalName, name)
	}
	require.Contains(t, want, "source-in.filter")
	require.Contains(t, want, "source-in.filter.filter")
	require.Contains(t, want, "source-in.filter-2.map-values.sink-out")
	require.Contains(t, want, "table-rights.join-tables-left")
	require.Contains(t, want, "foreign-fk-join")
}

func TestManySinksOfOneTopicHaveLegalNames(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(in)
	for range 80 {
		s.To(out)
	}
	names := nodeNames(t, b)
	require.Equal(t, "source-in.sink-out", names[1])
	require.Equal(t, "source-in.sink-out-10", names[10])
	require.Equal(t, "source-in.sink-out-80", names[80])
}

// Names of nodes far down are cut, and still tell nodes apart.
func TestLongNamesAreCut(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(in)
	for range 60 {
		s = s.MapValues(strings.ToUpper)
	}
	names := nodeNames(t, b)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), 61)
	for _, name := range names {
		require.Regexp(t, legalName, name)
		require.LessOrEqual(t, len(name), 200)
	}
	require.Equal(t, names, nodeNames(t, b), "a second Build gives the same names")
}

// A given name is everywhere where a node has one, and nothing durable has it.
func TestGivenNamesAreShown(t *testing.T) {
	build := func(name func(stream.Table[string, int64], stream.Grouped[string, string])) *stream.Topology {
		b := stream.NewBuilder()
		g := b.Stream(lines).FlatMapValues(words).GroupBy("words", func(_, w string) string { return w })
		n := g.Count(byWord)
		n.ToStream().To(counts)
		name(n, g)
		topo, err := b.Build()
		require.NoError(t, err)
		return topo
	}
	topo := build(func(n stream.Table[string, int64], g stream.Grouped[string, string]) {
		n.Named("tally")
		g.Named("regroup")
	})
	d := topo.Describe()
	raw, err := json.Marshal(d)
	require.NoError(t, err)
	for _, name := range []string{"tally", "tally.to-stream.sink-counts", "regroup", "regroup-key", "regroup-sink"} {
		for kind, text := range map[string]string{
			"text": d.String(), "DOT": d.DOT(), "Mermaid": d.Mermaid(), "JSON": string(raw),
		} {
			require.Contains(t, text, name, kind)
		}
	}
	plain := build(func(stream.Table[string, int64], stream.Grouped[string, string]) {})
	require.Equal(t, plain.Fingerprint(), topo.Fingerprint())
}

// A name that the program gives goes before one that another node would have.
func TestDerivedNamesGiveWay(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(in)
	s.Filter(every).To(out)
	s.Peek(nowhere).Named("source-in.filter").To(out)
	require.Equal(t, []string{"source-in", "source-in.filter-2", "source-in.filter-2.sink-out", "source-in.filter",
		"source-in.filter.sink-out"}, nodeNames(t, b))
}

// The serde of a value holds in every topic and buffer of the application's own behind it.
func TestSerdesOfInternalTopicsAndBuffers(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(in).Keys(quoted()).Values(quoted())
	s.Repartition("r").ForEach(nowhere)
	s.Join(s.Filter(every), around(), "inner", concat)
	s.LeftJoin(s, around(), "left", opt2)
	s.Batch(10, 0, "batch", func(_ string, v []string) string { return v[0] })
	s.MapValues(strings.ToUpper).Values(quoted()).GroupBy("g", byValue).Keys(quoted()).Count(byWord)
	table := b.Table(others, rowsOf("rows"))
	table.Keys(quoted()).Values(quoted()).Suppress(stream.UntilTimeLimit(time.Hour, "held"))
	joined := table.Values(quoted()).JoinForeign(b.Table(right, rights).Values(quoted()), named, "fk", concat)
	joined.Values(quoted()).GroupBy("needs-rows", swap).Values(quoted()).Count(countsOf("n"))
	d := play(b)
	defer d.Close()
	d.Input(right).Send("water", "deep", 1)
	d.Input(others).Send("a", "water", 1)
	d.Input(in).Send("a", "water", 1)
	for topic, want := range map[string]string{
		"test-r-repartition":                            `"a"="water"`,
		"test-g-repartition":                            `"WATER"="WATER"`,
		"test-inner-this-join-store-changelog":          `"water"`,
		"test-left-this-join-store-changelog":           `"water"`,
		"test-batch-changelog":                          `"water"`,
		"test-held-changelog":                           `"water"`,
		"test-fk-subscription-registration-repartition": "",
		"test-fk-subscription-response-repartition":     `"deep"`,
		"test-fk-result-changelog":                      `a="waterdeep"`,
		"test-needs-rows-repartition":                   `"a"`,
	} {
		var all []string
		for _, r := range d.Written(topic) {
			all = append(all, fmt.Sprintf("%s=%s", r.Key, r.Value))
		}
		require.NotEmpty(t, all, topic)
		require.Contains(t, strings.Join(all, "\n"), want, topic)
	}
}

func opt2(a string, b *string) string { return opt(&a, b) }

// Tombstones delete rows and are written as they are: none of them is counted as dropped.
func TestTombstonesAreNotDropped(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(in)
	s.To(out)
	s.ToTable(rowsOf("to-table")).ToStream().To(stream.NewTopic[string, string]("changes"))
	s.ToLazyTable(rowsOf("lazy"))
	s.Filter(every).MapValues(strings.ToUpper).Peek(nowhere).ForEach(nowhere)
	s.DropNulls().To(others)
	b.Table(right, rights).Materialize(rowsOf("kept"))
	b.LazyTable(left, lefts)
	d := play(b)
	defer d.Close()
	for _, topic := range []stream.Topic[string, string]{in, left, right} {
		d.Input(topic).Send("a", "x", 1)
		d.Input(topic).SendNull("a", 2)
		d.Input(topic).SendNull("never", 3)
	}
	require.Zero(t, d.DroppedTotal())
	require.Equal(t, []string{"a=x@1", "a=~@2", "never=~@3"}, d.Output(out).ReadStrings())
	require.Equal(t, []string{"a=x@1"}, d.Output(others).ReadStrings())
	_, there := d.Get(rights, "a")
	require.False(t, there)
}
