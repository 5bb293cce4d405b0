package workload

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// sunkClient is a client of a sink in this process.
func sunkClient(t *testing.T, s *Sink, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(l.Addr().String()), kgo.DefaultProduceTopic("any"),
		kgo.ConsumeTopics("any"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RetryTimeout(5*time.Second))...)
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		require.NoError(t, l.Close())
		require.NoError(t, <-served)
	})
	return client
}

// A sink that keeps gives back what it was given, in the order of each partition, also from the middle of a batch and
// where an answer cannot hold all.
func TestSinkGivesBackWhatItKeeps(t *testing.T) {
	const records = 1000
	client := sunkClient(t, NewSink(3, true), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerBatchMaxBytes(2000), kgo.FetchMaxPartitionBytes(5000))
	for i := range records {
		client.Produce(t.Context(), kgo.StringRecord(fmt.Sprint(i)), func(_ *kgo.Record, err error) {
			assert.NoError(t, err)
		})
	}
	require.NoError(t, client.Flush(t.Context()))
	seen := map[string]int{}
	next := map[int32]int64{}
	for len(seen) < records {
		fetched := client.PollFetches(t.Context())
		require.NoError(t, fetched.Err())
		for r := range fetched.RecordsAll() {
			require.Equal(t, next[r.Partition], r.Offset)
			next[r.Partition]++
			seen[string(r.Value)]++
		}
	}
	require.Len(t, next, 3)
	for value, times := range seen {
		require.Equal(t, 1, times, value)
	}
}

func TestSinkDropsWhatItDoesNotKeep(t *testing.T) {
	s := NewSink(1, false)
	client := sunkClient(t, s, kgo.ProducerLinger(0))
	for i := range 10 {
		r, err := client.ProduceSync(t.Context(), kgo.StringRecord("v")).First()
		require.NoError(t, err)
		require.EqualValues(t, i, r.Offset)
	}
	require.EqualValues(t, 10, s.partitions[0].end)
	require.Empty(t, s.partitions[0].batches)
}

func TestListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.Positive(t, listener(l.Addr().String()).peakRSSMiB())
	require.Positive(t, listener(l.Addr().String()).rssMiB())
	require.Zero(t, listener("192.0.2.1:9092"), "another machine's")
	require.Zero(t, listener("nonsense"))
	require.NoError(t, l.Close())
	require.Zero(t, listener(l.Addr().String()), "nobody listens any more")
	require.Zero(t, pid(0).cpu())
}
