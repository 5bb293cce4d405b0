package stream_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

func newLastSeen() *lastSeen { return &lastSeen{} }

// What follows a processor of the graph may not bring keys together, unless the processor keeps them.
func TestStreamOfKnowsWhereKeysMayHaveMoved(t *testing.T) {
	b := stream.NewBuilder()
	source := b.Graph().Source("texts", in)
	moved := source.Process("moves", newLastSeen, seenAt)
	kept := moved.ProcessValues("keeps", newLastSeen, seenAt)
	b.StreamOf(source.ProcessValues("fine", newLastSeen, seenAt)).GroupByKey().Count(state.NewKV[string, int64]("fine"))
	b.StreamOf(kept.Repartition("r")).GroupByKey().Count(state.NewKV[string, int64]("fine-too"))
	_, err := b.Build()
	require.NoError(t, err)

	b.StreamOf(kept).GroupByKey().Count(state.NewKV[string, int64]("wrong"))
	_, file, line, _ := runtime.Caller(0)
	b.StreamOf(b.HandleOf(b.Stream(others).Map(func(k, v string) (string, string) { return v, k })).
		ProcessValues("keeps-too", newLastSeen, seenAt)).GroupByKey().Count(state.NewKV[string, int64]("as-wrong"))
	b.StreamOf(kept.Merge(source)).GroupByKey().Count(state.NewKV[string, int64]("wrong-again"))
	_, err = b.Build()
	require.ErrorContains(t, err, fmt.Sprintf("%s:%d: GroupByKey brings equal keys together, but node moves (%s:%d) may "+
		"have changed the key", file, line-1, file, line-8))
	require.ErrorContains(t, err, "but Map ("+file)
	require.ErrorContains(t, err, fmt.Sprintf("%s:%d: GroupByKey", file, line+3))
}

func TestGraphAndLanguageAreOneTopology(t *testing.T) {
	b := stream.NewBuilder()
	merged := b.Graph().Source("texts", in).Merge(b.HandleOf(b.Stream(others)))
	b.StreamOf(merged).GroupByKey().Count(byWord).ToStream().To(counts)
	topo, err := b.Graph().Build() // the same as b.Build
	require.NoError(t, err)
	again, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, topo.Describe().String(), again.Describe().String())
	require.Len(t, topo.Subtopologies(), 1)
	d := streamtest.New(t, topo, streamtest.Config{})
	d.Input(in).Send("a", "x", 1)
	d.Input(others).Send("a", "y", 2)
	require.Equal(t, map[string]int64{"a": 2}, streamtest.Latest(d.Output(counts)))
}

func TestMistakesOfGraphAndLanguageComeTogether(t *testing.T) {
	foreign := stream.NewBuilder()
	b := stream.NewBuilder()
	b.Graph().Source("texts", stream.NewTopic[string, string]("bad topic"))
	b.StreamOf(foreign.Graph().Source("texts", in))
	b.HandleOf(foreign.Stream(in)).Sink("sink", out)
	b.Stream(in).Process((func() *lastSeen)(nil), seenAt)
	b.GlobalStore(others, func() stream.Filler[string, string] { return nil }, sizeOf)
	_, err := b.Build()
	for _, want := range []string{
		`node "texts": topic: name "bad topic"`, "StreamOf: the handle was made by another builder",
		"HandleOf: the stream was made by another builder", "the function that makes its processors is nil",
		"the function that makes its processors returned nil",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = foreign.Build()
	require.NoError(t, err)
}
