package runtime_test

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

// TestClientOnACluster runs where onKafka says.
func TestClientOnACluster(t *testing.T) {
	h := newHarness(t, listening(t))
	cfg := h.onKafka(3)
	cfg.ApplicationID, cfg.State.FS = "client-"+uuid.NewString()[:8], vfs.NewMem()
	cfg.Compression = runtime.LZ4
	client := h.clientOf(cfg)
	require.NoError(t, client.Ping(h.ctx))

	in := stream.NewTopic[string, string](cfg.ApplicationID + "-in")
	out := stream.NewTopic[stream.WindowedKey[string], string](cfg.ApplicationID + "-out")
	b := stream.NewBuilder()
	b.Stream(in).
		Map(func(k, v string) (stream.WindowedKey[string], string) {
			return stream.WindowKey(k, stream.Span{Start: 1, End: 2}), v
		}).
		To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	app, err := runtime.New(topo, cfg)
	require.NoError(t, err)
	require.NoError(t, app.RunDuring(h.ctx, func(ctx context.Context) error {
		require.NoError(t, app.WaitRunning(ctx))
		where, err := client.SendOne(ctx, in, topology.Record[string, string]{
			Key: "a", Value: "1", Timestamp: 5, Headers: []topology.Header{{Key: "h", Value: []byte("x")}},
		})
		require.NoError(t, err)
		require.Equal(t, topology.Metadata{Topic: in.Name(), Partition: topology.PartitionFor([]byte("a"), 3)}, where)
		require.NoError(t, client.SendAll(ctx, in, numbered(1000)))
		return app.WaitCaughtUp(ctx)
	}))
	got := all(h, client, out, runtime.Earliest())
	require.Len(t, got, 1001, "the last records are markers of transactions")
	for _, r := range got {
		require.Equal(t, topology.PartitionFor([]byte(r.Key.Key), 3), r.Partition)
		if r.Key.Key == "a" {
			require.EqualValues(t, 5, r.Timestamp)
			require.Equal(t, []topology.Header{{Key: "h", Value: []byte("x")}}, r.Headers)
		}
	}

	ends, err := client.Offsets(h.ctx, out, runtime.Latest())
	require.NoError(t, err)
	abortIn(t, h, cfg, in.Name())
	require.Len(t, all(h, client, in, runtime.Earliest()), 1001)
	group := runtime.Earliest().Group(cfg.ApplicationID + "-readers")
	require.Len(t, all(h, client, out, group), 1001)
	require.Empty(t, all(h, client, out, group))
	committed, err := client.Offsets(h.ctx, out, group)
	require.NoError(t, err)
	require.Equal(t, ends, committed)

	require.NoError(t, client.Delete(h.ctx, in, out))
	require.NoError(t, client.Reset(h.ctx, cfg.ApplicationID))
	require.NoError(t, client.Reset(h.ctx, cfg.ApplicationID+"-readers"))
}

// abortIn writes records to a topic and takes them back.
func abortIn(t *testing.T, h *harness, cfg runtime.Config, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Seeds...), kgo.TransactionalID(cfg.ApplicationID))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.BeginTransaction())
	for range 10 {
		require.NoError(t, client.ProduceSync(h.ctx, &kgo.Record{Topic: topic, Value: []byte("aborted")}).FirstErr())
	}
	require.NoError(t, client.EndTransaction(h.ctx, kgo.TryAbort))
}

// TestWhatTheBrokerRefusesOnACluster: as TestWhatTheBrokerRefuses, where it runs as [TestClientOnACluster] does.
func TestWhatTheBrokerRefusesOnACluster(t *testing.T) {
	h := newHarness(t, listening(t))
	cfg := h.onKafka(2)
	cfg.ApplicationID, cfg.State.FS = "refused-"+uuid.NewString()[:8], vfs.NewMem()
	cfg.Errors = topology.Errors{Encode: topology.DeadLetter, DeadLetters: cfg.ApplicationID + "-dead"}
	in := stream.NewTopic[string, string](cfg.ApplicationID + "-in")
	out := stream.NewTopic[string, string](cfg.ApplicationID + "-out")
	dead := stream.NewTopic[string, string](cfg.ApplicationID + "-dead")
	b := stream.NewBuilder()
	b.Stream(in.Timestamps(futures)).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	client := h.clientOf(cfg)
	app, err := runtime.New(topo, cfg)
	require.NoError(t, err)
	require.NoError(t, app.RunDuring(h.ctx, func(ctx context.Context) error {
		require.NoError(t, app.WaitRunning(ctx))
		require.NoError(t, client.SendAll(ctx, in, numbered(100)))
		for _, v := range []string{"future 1", "future 2"} {
			require.NoError(t, client.Put(ctx, in, "k", v))
		}
		require.NoError(t, client.SendAll(ctx, in, numbered(100)))
		return app.WaitCaughtUp(ctx)
	}))
	require.Len(t, all(h, client, out, runtime.Earliest()), 200)
	letters := all(h, client, dead, runtime.Earliest())
	require.Len(t, letters, 2)
	require.Equal(t, []string{"future 1", "future 2"}, []string{letters[0].Value, letters[1].Value})
	require.NoError(t, client.Delete(h.ctx, in, out, dead))
}
