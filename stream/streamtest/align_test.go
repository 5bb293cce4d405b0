package streamtest_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// Whatever the order in which partitions are read, and however far one is behind, the windows behind a repartition are
// the same.
func TestPartitionsInAnyOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	in, out := stream.NewTopic[string, string]("in"), stream.NewTopic[string, int64]("out")
	b := stream.NewBuilder()
	b.Stream(in).
		SelectKey(func(_, v string) string { return v }).
		Repartition("by-value").
		GroupByKey().
		Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Emit(stream.OnClose).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(func(k string, w stream.Span) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	for i := range 30 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		d := streamtest.New(t, topo, streamtest.Config{Partitions: 3, CommitEvery: r.IntN(6) - 1})
		source, want := d.Input(in), map[string]int64{}
		for begin := int64(0); begin < 300; begin += 100 {
			for p := range int32(3) {
				for ts := begin; ts < begin+100; ts += 1 + r.Int64N(5) {
					key := fmt.Sprintf("k%d", r.IntN(4))
					want[fmt.Sprintf("%s@%d", key, ts/10*10)]++
					source.Append(p, topology.Record[string, string]{Key: "x", Value: key, Timestamp: ts})
				}
				for k := range 4 { // moves the time of all windows
					source.Append(p, topology.Record[string, string]{
						Key: "x", Value: fmt.Sprintf("k%d", k), Timestamp: begin + 100,
					})
					want[fmt.Sprintf("k%d@%d", k, begin+100)]++
				}
			}
			for range r.IntN(3) {
				switch d.Run(); r.IntN(3) {
				case 0:
					d.Discard()
				case 1:
					d.Restart(streamtest.LoseState)
				default:
					d.Restart(streamtest.KeepState)
				}
			}
			d.Run()
			d.Commit()
		}
		maps.DeleteFunc(want, func(window string, _ int64) bool { return strings.HasSuffix(window, "@300") })
		got := map[string]int64{}
		for _, w := range d.Output(out).ReadAll() {
			got[w.Key] += w.Value
		}
		require.Equal(t, want, got, "round %d", i)
		require.Zero(t, d.DroppedTotal())
	}
}

// A record beside a repartition is processed at once when nothing upstream has records, in each partition.
func TestRecordsBesideARepartitionAreProcessedAtOnce(t *testing.T) {
	rows, in := stream.NewTopic[string, string]("rows"), stream.NewTopic[string, string]("in")
	out := stream.NewTopic[string, string]("out")
	b := stream.NewBuilder()
	counts := b.Table(rows, state.NewKV[string, string]("rows")).
		GroupBy("again", func(k, v string) (string, string) { return v, k }).
		Count(state.NewKV[string, int64]("counts"))
	b.Stream(in).
		LeftJoinTable(counts, func(v string, n *int64) string { return fmt.Sprint(v, n != nil) }).
		To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{Partitions: 3})
	results := d.Output(out)
	d.Input(rows).Send("x", "a", 0)
	for i, key := range []string{"a", "b", "c", "d", "e", "f"} {
		d.Input(in).Send(key, "v", 0)
		require.Equal(t, 1, results.Len(), "record %d", i)
		require.Equal(t, fmt.Sprint("v", key == "a"), results.Read().Value)
	}
}
