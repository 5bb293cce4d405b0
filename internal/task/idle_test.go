package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// A task waits for an empty input while nobody knows what it has, also where the clock has moved far.
func TestAnInputThatIsNotKnownToBeReadToItsEndIsNotIdle(t *testing.T) {
	seen := []int64{}
	both := process("p", noting(&seen))
	a, b := source("a", "p1"), source("b", "p2")
	a.Connect(both)
	b.Connect(both)
	r := newRig(t, task.Config{MaxIdle: 4 * time.Second}, []*topology.Node{a, b, both})
	r.add("p1", 0, at(5), at(9))
	known := int64(0)
	step := func(now int64, want int) {
		t.Helper()
		n, err := r.task.Step(1, now)
		require.NoError(t, err)
		require.Equal(t, want, n, "clock %d", now)
	}
	until := func(now int64) {
		for ; known <= now; known += 100 {
			require.NoError(t, r.task.Queues.AtEnd("p2", 0, known, known))
			step(known, 0)
		}
	}
	until(3000)
	step(60_000, 0) // the broker is away
	known = 60_000
	until(63_900) // another four seconds from here
	require.NoError(t, r.task.Queues.Reached("p2", 0, 0, 1))
	step(70_000, 0)
	r.add("p2", 0, at(7))
	step(70_000, 1)
	step(70_000, 1)
	step(70_000, 0)
	require.Equal(t, []int64{5, 7}, seen)
	known = 70_000
	until(73_900)
	require.NoError(t, r.task.Queues.AtEnd("p2", 0, 74_000, 74_000))
	step(74_000, 1)
	require.Equal(t, []int64{5, 7, 9}, seen)
}

// Windows that close when nothing comes do so by the time for which the input is known to have nothing. A clock that
// has moved while the process stood still, or was set, says nothing.
func TestWindowsCloseByTheTimeThatIsKnownToBeIdle(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("in")).GroupByKey().Windowed(stream.Tumbling(time.Second, 0)).
		Emit(stream.OnClose).CloseWhenIdle(4 * time.Second).Count(state.NewWindowed[string, int64]("counts")).
		ToStream(func(string, stream.Span) string { return "window" }).To(stream.NewTopic[string, int64]("out"))
	topo, err := b.Build()
	require.NoError(t, err)
	r := newRig(t, task.Config{}, topo.Subtopologies()[0].Nodes)
	clock, wall := int64(1000), int64(1_700_000_000_000)
	pass := func(millis, each int64, told bool) {
		for range millis / each {
			clock, wall = clock+each, wall+each
			if told {
				require.NoError(t, r.task.Queues.AtEnd("in", 0, clock, clock))
			}
			_, err := r.task.Punctuate(wall)
			require.NoError(t, err)
		}
	}
	closed := func(want int) {
		t.Helper()
		r.commit()
		require.Len(t, r.stamped("out"), want)
	}
	pass(1000, 100, true)
	r.add("in", 0, at(100))
	r.step(1)
	pass(3000, 100, true)
	closed(0)
	pass(20_000, 20_000, false) // the process stands still
	closed(0)
	pass(20_000, 100, false) // the broker is away
	closed(0)
	wall += 3_600_000 // the clock is set
	pass(3900, 100, true)
	closed(0)
	r.add("in", 1, at(900), at(950)) // what was written meanwhile
	r.step(2)
	pass(3900, 100, true)
	closed(0)
	wall -= 7_200_000
	pass(1200, 100, true)
	closed(1)
	var stats task.Stats
	r.task.Stats(&stats)
	for _, n := range stats.Nodes {
		require.Zero(t, n.Dropped[topology.Late])
	}
}
