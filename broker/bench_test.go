package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

func openBench(b *testing.B, sync broker.Sync) *broker.Broker {
	b.Helper()
	br, err := broker.Open(broker.Config{Dir: b.TempDir(), Sync: sync})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, br.Close()) })
	client, err := kgo.NewClient(kgo.SeedBrokers(br.Addr()), kgo.Dialer(br.Dial))
	require.NoError(b, err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(context.Background(), 4, 1, nil, "t")
	require.NoError(b, err)
	return br
}

// BenchmarkProduceClient is records of 100 bytes through a franz-go client.
func BenchmarkProduceClient(b *testing.B) {
	for _, sync := range []broker.Sync{broker.SyncGroup, broker.SyncNever} {
		b.Run(sync.String(), func(b *testing.B) {
			br := openBench(b, sync)
			client, err := kgo.NewClient(kgo.SeedBrokers(br.Addr()), kgo.Dialer(br.Dial), kgo.DefaultProduceTopic("t"),
				kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(100_000))
			require.NoError(b, err)
			defer client.Close()
			value := make([]byte, 100)
			b.SetBytes(100)
			b.ResetTimer()
			for range b.N {
				client.Produce(context.Background(), kgo.SliceRecord(value), nil)
			}
			require.NoError(b, client.Flush(context.Background()))
		})
	}
}

// BenchmarkProduceDirect is batches of 500 records of 100 bytes straight into the log, and out again.
func BenchmarkProduceDirect(b *testing.B) {
	br := openBench(b, broker.SyncGroup)
	const records = 500
	builder := batch.NewBuilder(batch.None)
	for range records {
		builder.Append(time.Now().UnixMilli(), nil, make([]byte, 100), nil)
	}
	raw, err := builder.Finish(batch.Producer{ID: -1, Epoch: -1, Sequence: -1})
	require.NoError(b, err)
	b.SetBytes(100)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += records {
		results, err := direct.Of(br).Produce(context.Background(), direct.ProduceRequest{
			Acks:       direct.AcksNone,
			Partitions: []direct.ProducePartition{{Topic: "t", Partition: int32(n/records) % 4, Batches: raw}},
		})
		require.NoError(b, err)
		require.NoError(b, results[0].Err)
	}
}

// BenchmarkConsumeClient is records of 100 bytes through a franz-go client.
func BenchmarkConsumeClient(b *testing.B) {
	br := openBench(b, broker.SyncNever)
	client, err := kgo.NewClient(kgo.SeedBrokers(br.Addr()), kgo.Dialer(br.Dial), kgo.DefaultProduceTopic("t"),
		kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.FetchMaxWait(100*time.Millisecond))
	require.NoError(b, err)
	defer client.Close()
	value := make([]byte, 100)
	for range b.N {
		client.Produce(context.Background(), kgo.SliceRecord(value), nil)
	}
	require.NoError(b, client.Flush(context.Background()))
	b.SetBytes(100)
	b.ResetTimer()
	for n := 0; n < b.N; {
		n += client.PollFetches(context.Background()).NumRecords()
	}
}
