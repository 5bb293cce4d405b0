package runtime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// hourly counts the events of a key in each hour. The newest count of a key is in the topic counts.
func hourly(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("old")).GroupByKey().
		Windowed(stream.Tumbling(time.Hour, 24*time.Hour)).Emit(stream.OnUpdate).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(func(k string, _ stream.Span) string { return k }).
		To(stream.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// Events of long ago do not expire from the broker because of their age: not from the input, and not from the changelog
// of the windows that count them. Nor do they when the application was away for longer than windows are kept.
func TestOldEventsAreCountedAfterTheStoreIsLost(t *testing.T) {
	for _, away := range []time.Duration{2 * time.Minute, 80 * time.Hour} {
		for _, guarantee := range []runtime.Guarantee{runtime.AtLeastOnce, runtime.ExactlyOnce} {
			t.Run(fmt.Sprint(away, guarantee), func(t *testing.T) {
				clock := brokertest.NewClock()
				h := newHarness(t, brokertest.At(clock))
				h.create(1, "old")
				then := time.Date(2020, 1, 1, 0, 10, 0, 0, time.UTC)
				event := func() {
					h.produce(&kgo.Record{Topic: "old", Key: []byte("k"), Value: []byte("v"), Timestamp: then})
				}
				cfg := h.config()
				cfg.Guarantee = guarantee
				counted := func(n int64) {
					app := h.start(hourly(t), cfg).settled()
					h.want = map[string]int64{"k": n}
					h.await()
					app.stop()
				}
				event()
				event()
				counted(2)
				clock.Advance(away)
				cfg.State.FS = vfs.NewMem() // the store is lost
				event()
				counted(3)
			})
		}
	}
}

// What has expired in a store leaves its changelog, by the times of events. What has not stays, and comes back.
func TestExpiredRowsLeaveTheChangelog(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.AtLeastOnce, runtime.ExactlyOnce} {
		t.Run(fmt.Sprint(guarantee), func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "old")
			then := time.Date(2020, 1, 1, 0, 10, 0, 0, time.UTC)
			event := func(after time.Duration) {
				h.produce(&kgo.Record{Topic: "old", Key: []byte("k"), Value: []byte("v"), Timestamp: then.Add(after)})
			}
			cfg := h.config()
			cfg.Guarantee, cfg.Topics.PurgeInterval = guarantee, 2*time.Millisecond
			start := func() int64 {
				offsets, err := h.admin.ListStartOffsets(h.ctx, "wordcount-windows-changelog")
				require.NoError(t, err)
				o, ok := offsets.Lookup("wordcount-windows-changelog", 0)
				require.True(t, ok)
				return o.Offset
			}
			app := h.start(hourly(t), cfg).settled()
			event(0)
			event(0)
			event(0)
			h.want = map[string]int64{"k": 3}
			h.await()
			require.NoError(t, app.Checkpoint(h.ctx))
			require.Zero(t, start(), "it may still be counted on")
			event(60 * time.Hour)
			event(60 * time.Hour)
			h.want["k"] = 2
			h.await()
			require.NoError(t, app.Checkpoint(h.ctx))
			require.Eventually(t, func() bool { return start() > 0 }, patience, poll)
			app.stop()

			cfg.State.FS = vfs.NewMem()
			app = h.start(hourly(t), cfg).settled()
			event(60 * time.Hour)
			h.want["k"] = 3
			h.await()
			app.stop()
		})
	}
}
