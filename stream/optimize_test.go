package stream_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// topics are what a topology writes of its own.
func repartitions(t *testing.T, b *stream.Builder) (names []string) {
	t.Helper()
	topo, err := b.Build()
	require.NoError(t, err)
	for _, n := range topo.Nodes() {
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			names = append(names, n.Sink.Name)
		}
	}
	return names
}

// T-32: one map feeds a count, an aggregate and a reduce behind a filter, and a join; the first repartition serves all.
func TestT32RepartitionsAreMerged(t *testing.T) {
	build := func(rules ...stream.Rule) *stream.Builder {
		b := stream.NewBuilder()
		moved := b.Stream(in).SelectKey(func(_, v string) string { return v[:1] })
		moved.Repartition("a").GroupByKey().Count(state.NewKV[string, int64]("count")).ToStream().To(counts)
		moved.Repartition("b").GroupByKey().
			Aggregate(state.NewKV[string, string]("all"), func() string { return "" }, plus).ToStream().To(out)
		moved.Filter(func(_, v string) bool { return len(v) > 1 }).MapValues(func(v string) int { return len(v) }).
			Repartition("c").GroupByKey().
			Reduce(state.NewKV[string, int]("most"), func(a, b int) int { return max(a, b) }).ToStream().
			To(stream.NewTopic[string, int]("most"))
		moved.Repartition("d").Join(b.Stream(right), stream.Around(10*ms, 0), "j", dash).
			To(stream.NewTopic[string, string]("joined"))
		moved.Repartition("own").Partitions(7)
		if len(rules) > 0 {
			b.OptimizeWith(rules...)
		}
		return b
	}
	require.Equal(t, []string{"a", "b", "c", "d", "own"}, repartitions(t, build()))
	require.Equal(t, []string{"a", "own"}, repartitions(t, build(stream.MergeRepartitions)))
	results := func(b *stream.Builder) map[string][]raw {
		d := drive(t, b)
		put(d, right, "x", "right", 5)
		for i, v := range []string{"x", "xy", "yz", "x1", "y"} {
			put(d, in, "", v, int64(i))
		}
		for topic := range d.outputs {
			if slices.Contains([]string{"counts", "out", "most", "joined"}, topic) {
				continue
			}
			delete(d.outputs, topic)
		}
		return d.outputs
	}
	want := results(build())
	require.Len(t, want, 4)
	require.Equal(t, want, results(build(stream.MergeRepartitions)))
}

func TestRepartitionsThatMustDifferAreNotMerged(t *testing.T) {
	b := stream.NewBuilder()
	five := b.Stream(left).Repartition("five").Partitions(5)
	moved := b.Stream(in).SelectKey(func(_, v string) string { return v })
	moved.Repartition("with-external").Join(b.Stream(right), stream.Around(ms, 0), "j1", dash)
	moved.Repartition("with-five").Join(five, stream.Around(ms, 0), "j2", dash)
	moved.Repartition("takes-null-keys").OuterJoin(b.Stream(right), stream.Around(ms, 0), "j3", opt)
	moved.SelectKey(func(k, _ string) string { return k }).Repartition("other-keys").GroupByKey().Count(byWord)
	names := repartitions(t, b)
	require.Equal(t, names, repartitions(t, b.Optimize()))
}

func TestTopicsAreReusedOnlyWhereTheyAreTheRows(t *testing.T) {
	b := stream.NewBuilder()
	nilable := stream.NewTopic[string, []string]("nilable")
	b.Table(in, state.NewKV[string, string]("rows"))
	b.Table(in, state.NewKV[string, string]("second of the topic"[:6]))
	b.Table(left, state.NewKV[string, string]("living").TTL(ms))
	b.Table(nilable, state.NewKV[string, []string]("lists"))
	always := func(topology.Record[string, string], int64) int64 { return 1 }
	b.Table(right.Timestamps(always), state.NewKV[string, string]("t"))
	b.Stream(numbers).ToTable(state.NewKV[string, int64]("made"))
	topo, err := b.OptimizeWith(stream.ReuseTopics).Build()
	require.NoError(t, err)
	require.Contains(t, topo.Fingerprint().String(), "keeps rows (key-value, restored from in)")
	n := 0
	for _, node := range topo.Nodes() {
		if node.RowsFromTopic != "" {
			n++
		}
	}
	require.Equal(t, 1, n)
}

// T-37: the results of a self join are the same, in the same order, with one buffer as with two.
func TestT37SelfJoinsShareABuffer(t *testing.T) {
	for name, w := range map[string]stream.Within{
		"around": stream.Around(10*ms, 2*ms), "before": stream.Around(0, 0).Before(7 * ms),
		"apart": stream.Around(0, 20*ms).Before(-2 * ms).After(5 * ms),
	} {
		results := func(optimize bool) []raw {
			b := stream.NewBuilder()
			b.Stream(in).Join(b.Stream(in), w, "self", dash).To(out)
			if optimize {
				b.OptimizeWith(stream.ShareSelfJoins)
			}
			topo, err := b.Build()
			require.NoError(t, err)
			require.Len(t, topo.Subtopologies()[0].Stores, map[bool]int{false: 2, true: 1}[optimize])
			d := drive(t, b)
			for i, ts := range []int64{1, 5, 5, 12, 3, 30, 9, 18, 17, 31, 31} {
				put(d, in, []string{"a", "b"}[i%3%2], fmt.Sprint(i), ts)
				if i == 6 {
					d.rebuild(b)
				}
			}
			require.Equal(t, map[bool]int64{false: d.dropped(topology.Expired), true: d.dropped(topology.Expired)}[optimize],
				d.dropped(topology.Expired))
			return d.outputs["out"]
		}
		require.NotEmpty(t, results(false))
		require.Equal(t, results(false), results(true), name)
	}
	b := stream.NewBuilder()
	b.Stream(in).LeftJoin(b.Stream(in), stream.Around(ms, 0), "left", func(l string, _ *string) string { return l })
	b.Stream(in).Join(b.Stream(in).Filter(func(string, string) bool { return true }), stream.Around(ms, 0), "two", dash)
	topo, err := b.Optimize().Build()
	require.NoError(t, err)
	require.Len(t, topo.Subtopologies()[0].Stores, 5, "neither a left join nor two streams can share")
}

func TestExplainShowsBeforeAndAfter(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).Join(b.Stream(in), stream.Around(ms, 0), "self", dash).To(out)
	b.Table(left, state.NewKV[string, string]("rows"))
	text, err := b.Explain()
	require.NoError(t, err)
	require.Regexp(t, `(?s)^Before\n.*keeps self-other-join-store.*Steps\n`+
		`reuse topics: store "rows" \(.*optimize_test.go:\d+\) is restored from topic "left"\n`+
		`share self joins: the join at .*optimize_test.go:\d+ does without store "self-other-join-store"\n\n`+
		`After\n.*keeps self-this-join-store`, text)
	topo, err := b.Build()
	require.NoError(t, err)
	require.Len(t, topo.Subtopologies()[0].Stores, 2, "to explain is not to do")
	_, err = stream.NewBuilder().Explain()
	require.Error(t, err)
}
