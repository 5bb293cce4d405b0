package broker_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
)

func TestStats(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 3, "t")
	topicWith(t, b, "two", "min.insync.replicas", "2")
	before := b.Stats()
	require.Equal(t, 2+2, before.Topics, "with the groups' and the transactions'")
	require.Equal(t, 3+1+2, before.Partitions)
	require.Zero(t, before.OfflinePartitions)
	require.Positive(t, before.Connections)
	require.GreaterOrEqual(t, before.OpenFiles, before.Partitions)
	require.Empty(t, before.RefusedBatches)

	produceValues(t, brokertest.Client(t, b), "t", "v", 100)
	p := plain(t, b)
	batch := p.batch(0, "direct")
	require.NoError(t, p.send(0, batch).Err)
	after := b.Stats()
	require.Greater(t, after.Fsyncs.Count, before.Fsyncs.Count)
	require.LessOrEqual(t, after.Fsyncs.Longest, after.Fsyncs.Total)
	require.Greater(t, after.BytesIn, before.BytesIn+int64(len(batch)))
	require.Greater(t, after.BytesOut, before.BytesOut)
	require.Contains(t, after.MemoryBytes, "tails")

	results, err := direct.Of(b).Produce(within(t), direct.ProduceRequest{
		Partitions: []direct.ProducePartition{{Topic: "two", Batches: p.batch(0, "v")}},
	})
	require.NoError(t, err)
	require.ErrorIs(t, results[0].Err, kerr.NotEnoughReplicas)
	require.Equal(t, map[string]int64{"NOT_ENOUGH_REPLICAS": 1}, b.Stats().RefusedBatches)

	require.NoError(t, b.Close())
	require.NoError(t, fs.Remove("broker/t-0/00000000000000000000.log"))
	b = brokertest.New(t, brokertest.On(fs))
	require.Equal(t, 1, b.Stats().OfflinePartitions)
}
