package runtime_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
)

// Events of long ago do not expire from the broker because of their age: not from the input, and not from the changelog
// of the windows that count them.
func TestOldEventsAreCountedAfterTheStoreIsLost(t *testing.T) {
	clock := brokertest.NewClock()
	h := newHarness(t, brokertest.At(clock))
	h.create(1, "old")
	then := time.Date(2020, 1, 1, 0, 10, 0, 0, time.UTC)
	event := func() {
		h.produce(&kgo.Record{Topic: "old", Key: []byte("k"), Value: []byte("v"), Timestamp: then})
	}
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("old")).GroupByKey().
		Windowed(stream.Tumbling(time.Hour, 24*time.Hour)).Emit(stream.OnUpdate).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(func(k string, _ stream.Span) string { return k }).
		To(stream.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)

	cfg := h.config()
	cfg.Guarantee = runtime.AtLeastOnce
	counted := func(n int64) {
		app := h.start(topo, cfg).settled()
		h.want = map[string]int64{"k": n}
		h.await()
		app.stop()
	}
	event()
	event()
	counted(2)
	clock.Advance(2 * time.Minute)
	cfg.StateFS = vfs.NewMem() // the store is lost
	event()
	counted(3)
}
