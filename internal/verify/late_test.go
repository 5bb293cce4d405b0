package verify

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
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

// written is a log that may be read while it is written.
type written struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// Records that are dropped because they are late, and the record of the future that makes them late, are in the log,
// and in the figures.
func TestLateRecordsShow(t *testing.T) {
	events := stream.NewTopic[string, string]("events")
	b := stream.NewBuilder()
	b.Stream(events).GroupByKey().Windowed(stream.Tumbling(time.Second, 0)).
		Count(state.NewWindowed[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	bundled := brokertest.New(t)
	client := brokertest.Client(t, bundled, kgo.AllowAutoTopicCreation())
	var log written
	app, err := runtime.New(topo, runtime.Config{
		ApplicationID: "late", Broker: bundled,
		State:   runtime.StateConfig{Dir: "state", FS: vfs.NewMem()},
		Workers: 1,
		Topics: runtime.Topics{
			Partitions: 1, Config: map[string]string{"message.timestamp.after.max.ms": "9223372036854775807"},
		},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- app.Run(running) }()
	require.NoError(t, app.WaitCaughtUp(ctx))
	start := time.Now().Truncate(time.Second)
	put := func(after time.Duration) {
		r := kgo.Record{Topic: "events", Key: []byte("k"), Value: []byte("v"), Timestamp: start.Add(after)}
		require.NoError(t, client.ProduceSync(ctx, &r).FirstErr())
		require.NoError(t, app.WaitCaughtUp(ctx))
	}
	put(0)
	put(7 * time.Second)
	require.NotContains(t, log.String(), "level=WARN")
	put(3 * time.Second)
	require.Contains(t, log.String(), "node=window-count-counts records=1 behind=4s topic=events partition=0 offset=2")
	put(time.Second)
	const year = 365 * 24 * time.Hour
	put(year)
	require.Contains(t, log.String(), "a record's time is more than a day ahead")
	require.Contains(t, log.String(), "topic=events partition=0 offset=4")
	put(8 * time.Second)
	stop()
	require.NoError(t, <-ran)
	stats := app.Stats()
	i := slices.IndexFunc(stats.Nodes, func(n runtime.NodeStats) bool { return n.Node == "window-count-counts" })
	require.EqualValues(t, 3, stats.Nodes[i].Dropped["late"])
	require.Equal(t, year-8*time.Second, stats.Nodes[i].LateMax)
}
