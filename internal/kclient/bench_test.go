package kclient

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
)

// BenchmarkRoundTrip moves batches of 1000 records of 100 bytes through a client into the bundled broker and back, in
// transactions of 8 batches, on files. ns/op is per record, encoding and decoding included.
func BenchmarkRoundTrip(b *testing.B) {
	for name, noLocal := range map[string]bool{"local": false, "remote": true} {
		b.Run(name, func(b *testing.B) {
			in := brokertest.New(b, func(c *broker.Config) { c.Dir, c.Sync = b.TempDir(), broker.SyncNever })
			l, err := Open(b.Context(), Config{Broker: in, NoLocal: noLocal, TransactionalID: "bench"})
			require.NoError(b, err)
			defer l.Close()
			ctx := context.Background()
			require.NoError(b, l.InitProducer(ctx))
			require.NoError(b, l.Topics().Ensure(ctx, []TopicSpec{{Name: "t", Partitions: 4}}))
			value := make([]byte, 100)
			const perBatch, perTransaction = 1000, 8
			builders := make(chan *batch.Builder, perTransaction)
			for range perTransaction {
				builders <- batch.NewBuilder(batch.None)
			}
			for p := range int32(4) {
				l.Fetcher().Set(TopicPartition{"t", p}, 0)
			}
			b.ReportAllocs()
			b.ResetTimer()
			written, read := 0, 0
			var items []Item
			for written < b.N {
				items = items[:0]
				for i := range perTransaction {
					builder := <-builders
					for range perBatch {
						builder.Append(0, nil, value, nil)
					}
					items = append(items, Item{TopicPartition: TopicPartition{"t", int32(i % 4)}, Builder: builder})
				}
				require.NoError(b, l.Produce(ctx, items))
				require.NoError(b, l.EndTxn(ctx, true))
				for _, it := range l.TakeProduced(nil) {
					written += perBatch
					it.Builder.Reset()
					builders <- it.Builder
				}
				read += drain(b, l, written-read)
			}
			b.SetBytes(100)
		})
	}
}

// drain reads n records.
func drain(b *testing.B, c *Client, n int) (read int) {
	for read < n {
		for _, f := range <-c.Fetcher().Fetched() {
			require.NoError(b, f.Err)
			for _, fb := range f.Batches {
				if fb.IsControl() {
					continue
				}
				it, err := fb.Records(nil)
				require.NoError(b, err)
				var r batch.Record
				for it.Next(&r) {
					read++
				}
			}
		}
	}
	return read
}

// BenchmarkCommit is the smallest round of a worker: one record, the group's offset, the end of the transaction.
func BenchmarkCommit(b *testing.B) {
	for name, noLocal := range map[string]bool{"local": false, "remote": true} {
		for _, sync := range []broker.Sync{broker.SyncGroup, broker.SyncOS} {
			b.Run(name+"/sync="+sync.String(), func(b *testing.B) {
				in := brokertest.New(b, func(c *broker.Config) { c.Dir, c.Sync = b.TempDir(), sync })
				l, err := Open(b.Context(), Config{
					Broker: in, NoLocal: noLocal, TransactionalID: "bench", Group: "bench",
				})
				require.NoError(b, err)
				defer l.Close()
				ctx := context.Background()
				require.NoError(b, l.InitProducer(ctx))
				require.NoError(b, l.Topics().Ensure(ctx, []TopicSpec{{Name: "t", Partitions: 1}}))
				b.ResetTimer()
				for i := range b.N {
					require.NoError(b, l.Produce(ctx, []Item{item("t", 0, "x")}))
					require.NoError(b, l.SendOffsets(ctx, []Offset{{TopicPartition{"t", 0}, int64(i), -1, ""}}))
					require.NoError(b, l.EndTxn(ctx, true))
					l.TakeProduced(nil)
				}
			})
		}
	}
}
