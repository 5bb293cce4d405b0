package stream_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

var (
	lines  = stream.NewTopic[string, string]("lines")
	counts = stream.NewTopic[string, int64]("counts")
	byWord = state.NewKV[string, int64]("by-word")
)

func words(l string) iter.Seq[string] { return strings.FieldsSeq(strings.ToLower(l)) }

func wordCount() *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(lines).
		FlatMapValues(words).
		GroupBy("words", func(_, word string) string { return word }).
		Count(byWord).
		ToStream().
		To(counts)
	return b
}

const wordCountText = `Topologies:
   Sub-topology: 0
    Source: source-lines (topics: [lines])
      --> source-lines.flat-map-values
    Processor: source-lines.flat-map-values (stores: [])
      --> repartition-words-key
      <-- source-lines
    Processor: repartition-words-key (stores: [])
      --> repartition-words-sink
      <-- source-lines.flat-map-values
    Sink: repartition-words-sink (topic: words-repartition)
      <-- repartition-words-key

  Sub-topology: 1
    Source: repartition-words-source (topics: [words-repartition])
      --> count-by-word
    Processor: count-by-word (stores: [by-word])
      --> count-by-word.to-stream
      <-- repartition-words-source
    Processor: count-by-word.to-stream (stores: [])
      --> count-by-word.to-stream.sink-counts
      <-- count-by-word
    Sink: count-by-word.to-stream.sink-counts (topic: counts)
      <-- count-by-word.to-stream

`

func TestWordCountBuilds(t *testing.T) {
	topo, err := wordCount().Build()
	require.NoError(t, err)
	d := topo.Describe()
	require.Equal(t, wordCountText, d.String())

	raw, err := json.Marshal(d)
	require.NoError(t, err)
	require.Contains(t, string(raw), `"name":"count-by-word","stores":[{"name":"by-word","kind":"key-value"}]`)
	require.Contains(t, string(raw), "build_test.go:")

	require.Equal(t, `sub-topology 0 reads lines
sub-topology 0 writes words-repartition
sub-topology 1 keeps by-word (key-value, changelogged)
sub-topology 1 reads words-repartition
`, topo.Fingerprint().String())
	for _, n := range topo.Nodes() {
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			require.True(t, n.DropNullKeys, "T-29: no relaxed join downstream")
		}
	}
}

func TestNodeNamesDoNotDependOnOtherStreams(t *testing.T) {
	topo, err := wordCount().Build()
	require.NoError(t, err)
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("other")).Filter(func(string, string) bool { return true })
	b.Stream(lines).FlatMapValues(words).GroupBy("words", func(_, w string) string { return w }).Count(byWord)
	more, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, "- sub-topology 0 reads lines\n+ sub-topology 0 reads other\n"+
		"- sub-topology 0 writes words-repartition\n- sub-topology 1 keeps by-word (key-value, changelogged)\n"+
		"+ sub-topology 1 reads lines\n- sub-topology 1 reads words-repartition\n"+
		"+ sub-topology 1 writes words-repartition\n+ sub-topology 2 keeps by-word (key-value, changelogged)\n"+
		"+ sub-topology 2 reads words-repartition\n", topo.Fingerprint().Diff(more.Fingerprint()))
}

func TestRepartitionsThatMeetNeedEqualPartitions(t *testing.T) {
	b := stream.NewBuilder()
	left := b.Stream(lines).Repartition("left").Partitions(3)
	right := b.Stream(counts).MapValues(func(n int64) string { return fmt.Sprint(n) }).Repartition("right").Partitions(4)
	left.Merge(right).GroupByKey().Count(byWord)
	_, err := b.Build()
	require.ErrorContains(t, err, `repartition "right" has 4 partitions, but "left" (`)
}

func TestTopicResets(t *testing.T) {
	for _, c := range []struct {
		set  stream.Reset
		want topology.Reset
	}{
		{stream.Earliest(), topology.Reset{}},
		{stream.Latest(), topology.Reset{Policy: topology.ResetLatest}},
		{stream.Refuse(), topology.Reset{Policy: topology.ResetNone}},
		{stream.Back(time.Minute), topology.Reset{Policy: topology.ResetBack, BackMillis: 60_000}},
	} {
		b := stream.NewBuilder()
		b.Stream(lines.Reset(c.set)).To(out)
		topo, err := b.Build()
		require.NoError(t, err)
		require.Equal(t, c.want, topo.Nodes()[0].Reset)
	}
}
