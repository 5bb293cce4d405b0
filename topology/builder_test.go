package topology_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/topology"
)

// at is the place of a line of this file, from the line of the call.
func at(offset int) string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d: ", file, line+offset)
}

func newShout() *shout { return &shout{} }

func TestBuildReportsAllMistakesWithTheirLines(t *testing.T) {
	in := topology.NewTopic[string, string]("in")
	other := topology.NewBuilder().Source("other", in)
	b := topology.NewBuilder()
	want := map[string]string{}
	src := b.Source("in", in)

	b.Source[string, string]("nothing")
	want[`node "nothing": a source reads no topic`] = at(-1)
	b.Source("blank", topology.Topic[string, string]{})
	want[`node "blank": it has no serdes`] = at(-1)
	want[`node "blank": topic: the name is empty`] = at(-2)
	b.Source("unlike", in, in.Reset(topology.Reset{Policy: topology.ResetLatest}))
	want[`node "unlike": topics in and in are read in different ways`] = at(-1)
	b.Source("channels", topology.NewTopic[string, chan int]("channels"))
	want[`node "channels": value: `] = at(-1)
	src.Process("", newShout)
	want["the processor has no name"] = at(-1)
	src.Process("none", (func() *shout)(nil))
	want[`node "none": the function that makes its processors is nil`] = at(-1)
	src.Process("nil", func() *shout { return nil })
	want["node nil: the function that makes its processors returned nil"] = at(-1)
	same := &paid{}
	src.Process("same", func() *paid { return same }, Open)
	want["node same: the function that makes its processors returned the same one twice"] = at(-1)
	src.ProcessValues("storeless", newShout, Open, nil)
	want[`node "storeless": store 2 of 2 is nil`] = at(-1)
	src.Process("unconnected", func() *paid { return &paid{} })
	want[`node unconnected opens store "open-orders"`] = at(-1)
	src.Sink("twice", in)
	src.Sink("twice", in)
	want[`node "twice" is there already`] = at(-1)
	src.Sink("nowhere", topology.NewTopic[string, string]("no where"))
	want[`node "nowhere": topic: name "no where"`] = at(-1)
	src.Merge(other)
	want["Merge: a handle was made by another builder"] = at(-1)
	src.ByKey()
	want["ByKey is a setting of Process and ProcessValues"] = at(-1)
	src.Partitions(3)
	want["Partitions is a setting of Repartition"] = at(-1)
	src.Repartition("r").Partitions(0)
	want[`Partitions: repartition "r": 0 partitions`] = at(-1)
	src.Repartition("s/t")
	want[`node "s/t-sink": topic: name "s/t"`] = at(-1)
	b.GlobalStore("global", in, (func() *priced)(nil), Menu)
	want[`node "global": the function that makes its processors is nil`] = at(-1)

	topo, err := b.Build()
	require.Nil(t, topo)
	for text, site := range want {
		require.ErrorContains(t, err, site+text)
	}
	require.Len(t, strings.Split(err.Error(), "\n"), len(want), "%v", err)
	again, err2 := b.Build()
	require.Nil(t, again)
	require.EqualError(t, err2, err.Error())
}

func TestAnEmptyBuilderIsAMistake(t *testing.T) {
	_, err := topology.NewBuilder().Build()
	require.ErrorContains(t, err, "begin with Source")
	require.PanicsWithValue(t, at(1)+"the handle is a zero value: take one that Source, "+
		"Process or Repartition returned", func() { topology.Handle[string, string]{}.Process("p", newShout) })
}

// The compiler refuses children of other types.
func TestChildrenOfOtherTypesDoNotCompile(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "-o", t.TempDir(),
		"./testdata/mistyped").CombinedOutput()
	require.Error(t, err)
	for line := 17; line <= 22; line++ {
		require.Contains(t, string(out), fmt.Sprintf("mistyped/main.go:%d:", line))
	}
}

func TestSettingsOfTopicsAndRepartitionsReachTheNodes(t *testing.T) {
	in := topology.NewTopic[string, string]("in").
		Reset(topology.Reset{Policy: topology.ResetLatest}).
		Timestamps(func(r topology.Record[string, string], _ int64) int64 { return int64(len(r.Value)) })
	quoted := serde.JSON[string]()
	b := topology.NewBuilder()
	r := b.Source("in", in).Repartition("r").Partitions(7).Keys(quoted).Values(quoted)
	r.Merge(r).Sink("out", topology.NewTopic[string, string]("out"))
	topo, err := b.Build()
	require.NoError(t, err)
	nodes := map[string]*topology.Node{}
	for _, n := range topo.Nodes() {
		nodes[n.Name] = n
	}
	require.Len(t, nodes, 4)
	require.Equal(t, topology.ResetLatest, nodes["in"].Reset.Policy)
	inner := topology.TopicName{Name: "r", Repartition: true, Partitions: 7}
	require.Equal(t, inner, nodes["r-sink"].Sink)
	require.Equal(t, []topology.TopicName{inner}, nodes["r-source"].Topics)
	require.Len(t, nodes["out"].Parents(), 1)

	out := &outlet{partitions: 1, keep: true}
	g, err := topology.Build(&topology.Env{Outlet: func(string) (topology.Outlet, error) { return out, nil }},
		topo.Subtopologies()...)
	require.NoError(t, err)
	src := g.Sources["in"][0]
	rec := record("in", "k", "four")
	rec.Timestamp, err = src.Time(rec, topology.Unknown)
	require.NoError(t, err)
	require.NoError(t, src.Receive(rec))
	require.Equal(t, []written{{key: `"k"`, value: `"four"`, ts: 4}}, out.records)
}

// A processor that brings keys together needs equal numbers of partitions: of its own inputs, and of those of earlier
// nodes that fill a store of its.
func TestByKeyGroupsTheInputs(t *testing.T) {
	topic := topology.NewTopic[string, string]
	b := topology.NewBuilder()
	b.Source("a", topic("a")).Process("fill", func() *ordered { return &ordered{} }, Open)
	both := b.Source("b", topic("b")).Merge(b.Source("c", topic("c")))
	both.Process("match", func() *paid { return &paid{} }, Open).ByKey()
	b.Source("d", topic("d")).Process("other", newShout)
	topo, err := b.Build()
	require.NoError(t, err)
	want := [][]topology.TopicName{{{Name: "b"}, {Name: "c"}, {Name: "a"}}}
	require.Equal(t, want, topo.Subtopologies()[0].Copartitioned)
	require.Empty(t, topo.Subtopologies()[1].Copartitioned)
}

// Build leaves the builder as it was: what is added later is in the next topology alone.
func TestBuildCanBeCalledAgain(t *testing.T) {
	in := topology.NewTopic[string, string]("in")
	b := topology.NewBuilder()
	src := b.Source("in", in)
	first, err := b.Build()
	require.NoError(t, err)
	src.Process("p", newShout).Process("q", newShout)
	second, err := b.Build()
	require.NoError(t, err)
	require.Len(t, first.Nodes(), 1)
	require.Empty(t, first.Nodes()[0].Children())
	require.Len(t, second.Nodes(), 3)
}
