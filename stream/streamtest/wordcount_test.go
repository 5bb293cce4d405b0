package streamtest_test

import (
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

var (
	lines  = stream.NewTopic[string, string]("lines")
	counts = stream.NewTopic[string, int64]("counts")
	byWord = state.NewKV[string, int64]("by-word")
)

func words(l string) iter.Seq[string] { return strings.FieldsSeq(strings.ToLower(l)) }

func wordCount(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	b.Stream(lines).
		FlatMapValues(words).
		GroupBy("words", func(_, word string) string { return word }).
		Count(byWord).
		ToStream().
		To(counts)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func TestWordCount(t *testing.T) {
	for name, c := range map[string]streamtest.Config{
		"one task":        {},
		"four partitions": {Partitions: 4},
		"mixed":           {TopicPartitions: map[string]int32{"lines": 2, "counts": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			d := streamtest.New(t, wordCount(t), c)
			in, out := d.Input(lines), d.Output(counts)
			in.Send("a", "to be or not to be", 5)
			in.Send("b", "Be quick", 7)
			want := map[string]int64{"to": 2, "be": 3, "or": 1, "not": 1, "quick": 1}
			require.Equal(t, want, streamtest.Latest(out))
			n, ok := d.Get(byWord, "be")
			require.True(t, ok)
			require.EqualValues(t, 3, n)

			for _, keep := range []streamtest.Keep{streamtest.LoseState, streamtest.KeepState} {
				d.Restart(keep)
				require.Zero(t, out.Len(), "a restart writes nothing")
				in.Send("c", "be", 9)
				want["be"]++
				require.Equal(t, map[string]int64{"be": want["be"]}, streamtest.Latest(out))
			}
			rows := streamtest.Rows(d, byWord)
			require.Len(t, rows, 5)
			require.Equal(t, streamtest.Row[int64]{Value: 5, Timestamp: 9}, rows["be"])
		})
	}
}

func TestCommitsGatherUpdates(t *testing.T) {
	d := streamtest.New(t, wordCount(t), streamtest.Config{CommitEvery: -1, EmitOnCommit: true})
	in, out := d.Input(lines), d.Output(counts)
	in.Send("", "to be or not to be", 1)
	in.Send("", "to be", 2)
	require.Zero(t, out.Len(), "nothing is seen before the commit")
	d.Commit()
	require.Equal(t, []string{"to=3@2", "be=3@2", "or=1@1", "not=1@1"},
		sortedAs(out.ReadStrings(), "to", "be", "or", "not"))

	in.Send("", "to", 3)
	d.Discard()
	require.Zero(t, out.Len())
	d.Commit()
	require.Equal(t, []string{"to=4@3"}, out.ReadStrings())
}

// sortedAs brings lines into the order of their keys.
func sortedAs(lines []string, keys ...string) []string {
	var sorted []string
	for _, k := range keys {
		for _, l := range lines {
			if strings.HasPrefix(l, k+"=") {
				sorted = append(sorted, l)
			}
		}
	}
	return sorted
}
