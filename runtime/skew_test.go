package runtime_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// Where two repartitions meet, the tasks before both are waited for.
func TestTwoRepartitionsThatMeet(t *testing.T) {
	for _, slow := range []string{"skew", "skew-too"} {
		inVirtualTime(t, func(t *testing.T, h *harness) {
			h.create(skewPartitions, "skew-too")
			want := map[string]int64{}
			for _, topic := range []string{"skew", "skew-too"} {
				for p := range skewPartitions {
					var records []*kgo.Record
					for i := range 300 {
						at := eachSecond(p, i)
						if topic == slow {
							at -= 3_600_000
						}
						records = append(records, &kgo.Record{
							Topic: topic, Partition: int32(p), Value: []byte("k0"), Timestamp: time.UnixMilli(at),
						})
						want[skewWindow("k0", at)]++
					}
					h.produce(records...)
				}
			}
			b := stream.NewBuilder()
			from := func(topic, name string) stream.Stream[string, string] {
				return b.Stream(stream.NewTopic[string, string](topic)).
					Peek(func(string, string) {
						if topic == slow {
							elapse(time.Millisecond)
						}
					}).
					SelectKey(func(_, v string) string { return v }).
					Repartition(name)
			}
			countSkew(from("skew", "one").Merge(from("skew-too", "two")))
			topo, err := b.Build()
			require.NoError(t, err)
			cfg := h.config()
			cfg.Workers = 4
			app := h.start(topo, cfg).caughtUp()
			app.stop()
			require.Empty(t, drops(app))
			require.Equal(t, want, h.lastCounts("skew-counts"))
		})
	}
}

// An input of which nothing is committed holds the time back, also where its task fails before its first commit.
func TestATaskThatFailsBeforeItsFirstCommit(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, h *harness) {
		want := h.fillSkew(skewPartitions, 300, eachSecond)
		fail := make(chan struct{})
		var healthy atomic.Bool
		topo := func() *topology.Topology {
			return skewed(t, func(s stream.Stream[string, string]) stream.Stream[string, string] {
				return s.Peek(func(k, _ string) {
					if k == "p3" && !healthy.Load() {
						<-fail
						panic("as the test wants")
					}
				})
			}, stream.OnCommit)
		}
		cfg := h.config()
		cfg.Workers = 8
		app := h.start(topo(), cfg)
		require.Eventually(t, func() bool {
			for p := range int32(skewPartitions - 1) {
				if h.offset("skew", p) < 300 {
					return false
				}
			}
			return app.windowed() == 300*(skewPartitions-1)
		}, patience, poll)
		elapse(time.Second) // cuts that would let the time go on
		close(fail)
		require.ErrorContains(t, app.fails(), "as the test wants")
		healthy.Store(true)
		cfg.State.FS = vfs.NewMem()
		app = h.start(topo(), cfg).caughtUp()
		app.stop()
		require.Empty(t, drops(app))
		require.Equal(t, want, h.lastCounts("skew-counts"))
	})
}

// windowed is how many records the windows of skewed have processed.
func (r *running) windowed() int64 {
	for _, n := range r.Stats().Nodes {
		if n.Node == "window-count-skew-windows" {
			return n.Processed
		}
	}
	return 0
}

// Time goes on when a task behind a repartition has read all that was there, and not before.
func TestATaskBehindARepartitionThatIsSlow(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, h *harness) {
		want := h.fillSkew(skewPartitions, 20_000, eachSecond)
		stuck := make(chan struct{})
		b := stream.NewBuilder()
		countSkew(b.Stream(skewIn).
			SelectKey(func(_, v string) string { return v }).
			Repartition("by-value").
			Peek(func(string, string) { <-stuck }))
		topo, err := b.Build()
		require.NoError(t, err)
		cfg := h.config()
		cfg.Workers = 16
		app := h.start(topo, cfg)
		require.Eventually(t, func() bool {
			for p := range int32(skewPartitions) {
				if h.offset("skew", p) < 20_000 {
					return false
				}
			}
			return true
		}, patience, poll)
		elapse(time.Second) // cuts that say that nothing upstream has records
		close(stuck)
		app.caughtUp().stop()
		require.Empty(t, drops(app))
		require.Equal(t, want, h.lastCounts("skew-counts"))
	})
}

// An input beside a repartition keeps step with it. What is there of both is taken in the order of its times, and
// nothing that is later than what may still come through the repartition: a record meets the row of a table that was
// there at its time, though the task before the repartition is slow, and the table's rows are all there beforehand.
func TestAnInputBesideARepartitionKeepsStep(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, h *harness) {
		h.create(skewPartitions, "skew-rows")
		h.create(1, "skew-met")
		for i := range 1000 {
			var rows []*kgo.Record
			for k := range skewKeys {
				key := fmt.Appendf(nil, "k%d", k)
				rows = append(rows, &kgo.Record{
					Topic: "skew-rows", Partition: topology.PartitionFor(key, skewPartitions), Key: key,
					Value: []byte(strconv.Itoa(i)), Timestamp: time.UnixMilli(eachSecond(0, i)),
				})
			}
			h.produce(rows...)
		}
		h.fillSkew(1, 1000, func(_, i int) int64 { return eachSecond(0, i) + 500 })
		var seen atomic.Int64
		b := stream.NewBuilder()
		rows := b.Table(stream.NewTopic[string, string]("skew-rows"), state.NewKV[string, string]("rows"))
		b.Stream(skewIn).
			Peek(func(string, string) {
				if seen.Add(1)%100 == 1 { // several commits long
					elapse(100 * time.Millisecond)
				}
			}).
			SelectKey(func(_, v string) string { return v }).
			Repartition("by-value").
			JoinTable(rows, func(_, row string) string { return row }).
			To(stream.NewTopic[string, string]("skew-met"))
		topo, err := b.Build()
		require.NoError(t, err)
		cfg := h.config()
		cfg.Workers = 3
		h.start(topo, cfg).caughtUp().stop()
		met := h.read("skew-met")
		require.Len(t, met, 1000)
		for _, r := range met {
			row, err := strconv.Atoi(string(r.Value))
			require.NoError(t, err)
			require.Equal(t, eachSecond(0, row)+500, r.Timestamp.UnixMilli(), "%s", r.Key)
		}
	})
}

// countSkew counts the records of each key in windows of ten seconds.
func countSkew(s stream.Stream[string, string]) {
	s.GroupByKey().
		Windowed(stream.Tumbling(10*time.Second, time.Minute)).
		Count(skewStore).
		ToStream(func(k string, w stream.Span) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		To(skewCounts)
}
