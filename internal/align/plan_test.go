package align

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

func planOf(t *testing.T, partitions int32, build func(b *topology.Builder)) *Plan {
	t.Helper()
	b := topology.NewBuilder()
	build(b)
	topo, err := b.Build()
	require.NoError(t, err)
	return New(topo.Subtopologies(), "app", func(string) int32 { return partitions })
}

var (
	ins  = topology.NewTopic[string, string]("ins")
	more = topology.NewTopic[string, string]("more")
	outs = topology.NewTopic[string, string]("outs")
)

func TestPlans(t *testing.T) {
	one := func(b *topology.Builder) { b.Source("a", ins).Repartition("r").Sink("z", outs) }
	require.Nil(t, planOf(t, 1, one), "one task upstream")
	p := planOf(t, 2, one)
	require.Equal(t, [][]string{{"ins"}}, p.levels)
	require.Equal(t, []string{"app-r-repartition"}, p.last)
	require.Len(t, p.readers, 1)
	require.Nil(t, planOf(t, 2, func(b *topology.Builder) { b.Source("a", ins).Sink("z", outs) }))

	merged := planOf(t, 1, func(b *topology.Builder) {
		b.Source("a", ins).Repartition("r").Merge(b.Source("b", more).Repartition("s")).Sink("z", outs)
	})
	require.Len(t, merged.readers, 1, "two tasks of different parts")
	require.Equal(t, [][]string{{"ins", "more"}}, merged.levels)
	require.Len(t, merged.readers[0].upstream, 2)

	two := planOf(t, 2, func(b *topology.Builder) {
		b.Source("a", ins).Repartition("r").Repartition("s").Sink("z", outs)
	})
	require.Equal(t, [][]string{{"ins"}, {"app-r-repartition"}}, two.levels)
	require.Equal(t, []string{"app-s-repartition"}, two.last)
}

// What is read beside a repartition is held, unless it waits for itself.
func TestHeldInputs(t *testing.T) {
	beside := planOf(t, 2, func(b *topology.Builder) {
		b.Source("a", ins).Repartition("r").Merge(b.Source("b", more)).Sink("z", outs)
	})
	require.Equal(t, map[string]bool{"more": true}, beside.readers[0].Held)

	itself := planOf(t, 2, func(b *topology.Builder) {
		a := b.Source("a", ins)
		a.Repartition("r").Merge(a).Sink("z", outs)
	})
	require.Empty(t, itself.readers[0].Held)

	across := planOf(t, 2, func(b *topology.Builder) {
		a, c := b.Source("a", ins), b.Source("b", more)
		a.Repartition("r").Merge(c).Sink("y", outs)
		c.Repartition("s").Merge(a).Sink("z", outs)
	})
	held := 0
	for _, r := range across.readers {
		held += len(r.Held)
	}
	require.Less(t, held, 2, "both would wait for each other")
}

func TestALongLineKeepsTheNextAndTheLast(t *testing.T) {
	var l Line
	for i := range int64(1000) {
		l.Add(Goal{Ends: []int64{i}, Time: i})
		require.EqualValues(t, 0, l.First().Time)
		require.Equal(t, i, l.goals[len(l.goals)-1].Time)
		require.LessOrEqual(t, len(l.goals), lineMost)
		require.True(t, slices.IsSortedFunc(l.goals, func(a, b Goal) int { return int(a.Time - b.Time) }))
	}
	l.Add(Goal{Ends: []int64{999}, Time: 1234})
	require.EqualValues(t, 1234, l.goals[len(l.goals)-1].Time, "of the same place the newest counts")
}
