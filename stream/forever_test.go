package stream_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

const forever time.Duration = math.MaxInt64

// A grace that never ends is the longest duration. The sums that stores need do not overflow.
func TestGraceThatNeverEnds(t *testing.T) {
	counts, sessions := state.NewWindowed[string, int64]("w"), state.NewSession[string, int64]("s")
	for name, count := range map[string]func(stream.Grouped[string, string]) stream.WindowTable[string, int64]{
		"tumbling": func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
			return g.Windowed(stream.Tumbling(time.Hour, forever)).Count(counts)
		},
		"sliding": func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
			return g.Windowed(stream.Sliding(time.Hour, forever)).Count(counts)
		},
		"days": func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
			return g.Windowed(stream.Days(1, time.UTC, forever)).Count(counts)
		},
		"sessions": func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
			return g.Sessions(stream.SessionGap(time.Hour, forever)).Count(sessions)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := stream.NewBuilder()
			numbers := stream.NewTopic[string, int64]("numbers")
			count(b.Stream(in).GroupByKey()).KeyStream().To(numbers)
			topo, err := b.Build()
			require.NoError(t, err)
			d := streamtest.New(t, topo, streamtest.Config{})
			day := (24 * time.Hour).Milliseconds()
			for _, ts := range []int64{day + 2, 20_000 * day, day + 2} { // the second one is half a century younger
				d.Input(in).Send("k", "x", ts)
			}
			results := d.Output(numbers).ReadValues()
			require.EqualValues(t, 2, results[len(results)-1])
			require.Zero(t, d.DroppedTotal())
		})
	}
}

func TestJoinsThatWaitForever(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).Join(b.Stream(right), stream.Around(forever, forever), "j", concat).To(out)
	d := drive(t, b)
	put(d, in, "k", "a", 1)
	put(d, right, "k", "b", 1764000000000)
	require.Equal(t, []string{"k=ab@1764000000000"}, got(d, out))

	b = stream.NewBuilder()
	table := b.VersionedTable(right, state.NewVersioned[string, string]("v", forever))
	b.Stream(in).JoinAsOf(table, stream.AtOrAfter(forever, forever), "asof", concat).To(out)
	d = drive(t, b)
	put(d, right, "k", "b", 10)
	put(d, in, "k", "a", 5)
	require.Empty(t, got(d, out), "an earlier row may follow")
}
