package stream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// A session that ends gap and grace before the highest timestamp takes records, so it is kept.
func TestSessionsAreKeptWhileTheyAreOpen(t *testing.T) {
	for _, emit := range []stream.Emit{stream.OnUpdate, stream.OnCommit} {
		b := stream.NewBuilder()
		b.Stream(in).GroupByKey().Sessions(stream.SessionGap(2*ms, 10*ms)).Emit(emit).
			Count(state.NewSession[string, int64]("s")).ToStream(shown).To(counts)
		d := drive(t, b)
		put(d, in, "a", "", 12)
		put(d, in, "a", "", 0)
		put(d, in, "a", "", 0)
		require.Equal(t, []string{"a[12/12]=1@12", "a[0/0]=1@0", "a[0/0]=2@0"}, got(d, counts))
		put(d, in, "b", "", 13)
		put(d, in, "a", "", 0)
		require.Equal(t, int64(1), d.dropped(topology.Late))
	}
}

// The window that ends with a record says that there was one, as long as a record behind it may come.
func TestSlidingWindowsAreKeptWhileTheyAreRead(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Sliding(5*ms, 3*ms)).Emit(stream.OnUpdate).
		Count(state.NewWindowed[string, int64]("w")).ToStream(shown).To(counts)
	d := drive(t, b)
	put(d, in, "a", "", 20)
	put(d, in, "b", "", 28)
	put(d, in, "b", "", 29)
	got(d, counts)
	put(d, in, "a", "", 25)
	require.Equal(t, []string{"a[21/26]=1@25"}, got(d, counts), "the window of what comes behind a@20")
}

// Inputs of a cogroup share a store, which keeps what the one that is behind may still add to.
func TestCogroupsKeepRowsForTheInputThatIsBehind(t *testing.T) {
	zero := func() string { return "" }
	for name, build := range map[string]func(stream.Cogrouped[string, string]) stream.WindowTable[string, string]{
		"a[0/10]": func(c stream.Cogrouped[string, string]) stream.WindowTable[string, string] {
			return c.Windowed(stream.Tumbling(10*ms, 0)).Aggregate(state.NewWindowed[string, string]("w"), zero)
		},
		"a[1/1]": func(c stream.Cogrouped[string, string]) stream.WindowTable[string, string] {
			return c.Sessions(stream.SessionGap(2*ms, 0)).
				Aggregate(state.NewSession[string, string]("s"), zero, func(_, a, b string) string { return a + b })
		},
	} {
		for _, emit := range []stream.Emit{stream.OnUpdate, stream.OnCommit} {
			b := stream.NewBuilder()
			c := b.Stream(left).GroupByKey().Cogroup(plus).With(b.Stream(right).GroupByKey(), plus).Emit(emit)
			build(c).ToStream(shown).To(out)
			d := drive(t, b)
			put(d, right, "a", "r", 100)
			put(d, left, "a", "l", 1)
			d.rebuild(b)
			put(d, left, "a", "m", 1)
			require.Equal(t, []string{name + "=+l@1", name + "=+l+m@1"}, got(d, out)[1:])
			require.Zero(t, d.dropped(topology.Expired))

			put(d, left, "a", "n", 200) // both have left it behind
			put(d, right, "a", "s", 200)
			require.Equal(t, int64(0), d.dropped(topology.Late))
		}
	}
}

// What a merge of sessions makes nothing of begins anew with the record: no function gets nil for it.
func TestSessionsThatMergeToNothingBeginAnew(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).MapValues(func(v string) *tally { return &tally{len(v)} }).GroupByKey().
		Sessions(stream.SessionGap(5*ms, time.Second)).Emit(stream.OnUpdate).
		Reduce(state.NewSession[string, *tally]("s"), func(a, b *tally) *tally {
			if b.N == 3 {
				return nil
			}
			return &tally{a.N + b.N}
		}).MapValues(func(v *tally) int64 { return int64(v.N) }).ToStream(shown).To(counts)
	d := drive(t, b)
	put(d, in, "a", "1", 0)
	put(d, in, "a", "333", 6)
	put(d, in, "a", "1", 1)
	require.Equal(t, "a[0/6]=1@6", got(d, counts)[4])
}

// Null keys pass the subscriptions of a left join by a foreign key, and no repartition before it.
func TestLeftForeignJoinsTakeNullKeysOfTheirOwn(t *testing.T) {
	b := stream.NewBuilder()
	rows := b.Stream(in).GroupBy("by-value", func(_, v string) string { return v }).
		Reduce(state.NewKV[string, string]("kv"), func(a, _ string) string { return a })
	rows.LeftJoinForeign(b.Table(right, state.NewKV[string, string]("right")),
		func(_, v string) (string, bool) { return v, v != "" }, "fk", func(v string, _ *string) string { return v })
	topo, err := b.Build()
	require.NoError(t, err)
	drops := map[string]bool{}
	for _, n := range topo.Nodes() {
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			drops[n.Sink.Name] = n.DropNullKeys
		}
	}
	require.Equal(t, map[string]bool{
		"by-value": true, "fk-subscription-registration": false, "fk-subscription-response": true,
	}, drops)
}
