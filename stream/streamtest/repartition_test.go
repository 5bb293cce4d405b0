package streamtest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// T-32: one change of key feeds a count, an aggregation, a reduction behind a filter, and a join. The program says how
// many repartitions there are: one for all or one for each. The results are the same.
func TestT32OneRepartitionOrFour(t *testing.T) {
	words := stream.NewTopic[string, string]("words")
	counts := stream.NewTopic[string, int64]("counts")
	sums := stream.NewTopic[string, string]("sums")
	last := stream.NewTopic[string, string]("last")
	joined := stream.NewTopic[string, string]("joined")
	concat := func(a, b string) string { return a + b }

	build := func(shared bool) *streamtest.Driver {
		b := stream.NewBuilder()
		moved := b.Stream(words).Map(func(k, v string) (string, string) { return strings.ToUpper(k), v })
		all := moved.Repartition("all")
		by := func(name string) stream.Stream[string, string] {
			if shared {
				return all
			}
			return moved.Repartition(name)
		}
		by("count").GroupByKey().Count(state.NewKV[string, int64]("n")).ToStream().To(counts)
		by("sum").GroupByKey().Aggregate(state.NewKV[string, string]("sum"), func() string { return "" },
			func(_, v, a string) string { return a + v }).ToStream().To(sums)
		by("last").Filter(func(k, _ string) bool { return k == "A" }).Peek(func(string, string) {}).GroupByKey().
			Reduce(state.NewKV[string, string]("last"), concat).ToStream().To(last)
		by("join").Join(all, stream.Around(0, 0), "joined", concat).To(joined)
		topo, err := b.Build()
		require.NoError(t, err)
		return streamtest.New(t, topo, streamtest.Config{Partitions: 3})
	}
	outputs := func(d *streamtest.Driver) (all [][]string, repartitions int) {
		input := d.Input(words)
		for i, key := range []string{"a", "b", "a", "c", "c", "a"} {
			input.Send(key, string(rune('u'+i)), int64(i/2))
		}
		for _, name := range d.Topics() {
			if strings.HasSuffix(name, "-repartition") {
				repartitions++
			}
		}
		return [][]string{
			d.Output(counts).ReadStrings(), d.Output(sums).ReadStrings(), d.Output(last).ReadStrings(),
			d.Output(joined).ReadStrings(),
		}, repartitions
	}
	one, n := outputs(build(true))
	require.Equal(t, 1, n)
	each, n := outputs(build(false))
	require.Equal(t, 5, n, "four, and the other side of the join")
	require.Len(t, one[0], 6)
	for i := range one {
		require.ElementsMatch(t, one[i], each[i])
	}
}

// A store has a changelog partition for each of its tasks, also where these are more than topics have by default.
func TestMorePartitionsThanOtherTopics(t *testing.T) {
	words := stream.NewTopic[string, string]("words")
	counts := state.NewKV[string, int64]("counts")
	b := stream.NewBuilder()
	b.Stream(words).GroupBy("by-word", func(_, word string) string { return word }).Partitions(5).Count(counts)
	topo, err := b.Build()
	require.NoError(t, err)
	for _, c := range []streamtest.Config{
		{Partitions: 2}, {TopicPartitions: map[string]int32{"words": 3, "test-by-word-repartition": 4}},
	} {
		d := streamtest.New(t, topo, c)
		letters := strings.Split("abcdefghij", "")
		for _, word := range letters {
			d.Input(words).Send(word, word, 1)
		}
		d.Restart(streamtest.LoseState)
		require.Len(t, d.Entries(counts), len(letters))
	}
}
