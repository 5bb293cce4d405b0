package kclient

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
)

func TestKeyedTopic(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		topic := b.topic(l, "keyed", 1)
		read := func() []KeyValue {
			records, err := l.ReadKeyed(b.ctx, topic)
			require.NoError(t, err)
			return records
		}
		require.Empty(t, read())
		one, two := KeyValue{[]byte("a"), []byte("1")}, KeyValue{[]byte("a"), nil}
		require.NoError(t, l.WriteKeyed(b.ctx, topic, []KeyValue{one, two}, time.Now()))
		require.NoError(t, l.WriteKeyed(b.ctx, topic, []KeyValue{one}, time.Now()))
		require.NoError(t, l.WriteKeyed(b.ctx, topic, nil, time.Now()))
		require.Equal(t, []KeyValue{one, two, one}, read())
		other := b.open(nil)
		records, err := other.ReadKeyed(b.ctx, topic)
		require.NoError(t, err)
		require.Len(t, records, 3)
	})
}

// A transaction that is open, whose owner may be dead, keeps nobody from reading. Its records are another reader's.
func TestKeyedTopicWithAnOpenTransaction(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		topic := b.topic(l, "keyed", 1)
		one, two := KeyValue{[]byte("a"), []byte("1")}, KeyValue{[]byte("a"), []byte("2")}
		require.NoError(t, l.WriteKeyed(b.ctx, topic, []KeyValue{one}, time.Now()))
		p := b.producer(b.name("txn"))
		b.produce(p, item(topic, 0, "of a transaction"))
		require.NoError(t, p.EndTxn(b.ctx, true))
		b.produce(p, item(topic, 0, "of an open one"))
		require.NoError(t, l.WriteKeyed(b.ctx, topic, []KeyValue{two}, time.Now()))
		records, err := l.ReadKeyed(b.ctx, topic)
		require.NoError(t, err)
		require.Equal(t, []KeyValue{one, two}, records)
		require.NoError(t, p.EndTxn(b.ctx, false))
	})
}

// No batch grows beyond what topics take (max.message.bytes is 1 MiB by default), however many records there are.
func TestKeyedBatchesAreBounded(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		topic := b.topic(l, "keyed", 1)
		records := make([]KeyValue, 3000)
		for i := range records {
			records[i] = KeyValue{fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte{byte(i)}, 1000)}
		}
		require.NoError(t, l.WriteKeyed(b.ctx, topic, records, time.Now()))
		read, err := l.ReadKeyed(b.ctx, topic)
		require.NoError(t, err)
		require.Equal(t, records, read)
		end, err := l.ListOffsets(b.ctx, []TopicPartition{{topic, 0}}, Latest, false)
		require.NoError(t, err)
		all := map[TopicPartition]int64{{topic, 0}: 0}
		err = l.Scan(b.ctx, all, end, func(_ TopicPartition, b batch.Batch) (bool, error) {
			require.LessOrEqual(t, b.Size(), keyedBatchBytes)
			return false, nil
		})
		require.NoError(t, err)
	})
}

// A call that is given up before its records are sent leaves nothing behind for the next one.
func TestKeyedWriteThatWasGivenUp(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		topic := b.topic(l, "keyed", 1)
		one, two := KeyValue{[]byte("a"), []byte("1")}, KeyValue{[]byte("b"), []byte("2")}
		require.NoError(t, l.WriteKeyed(b.ctx, topic, []KeyValue{one}, time.Now()))
		l.producer.mu.Lock()
		l.producer.hold = true // until the producer starts over
		l.producer.mu.Unlock()
		ctx, cancel := context.WithCancel(b.ctx)
		cancel()
		require.ErrorIs(t, l.WriteKeyed(ctx, topic, []KeyValue{one}, time.Now()), context.Canceled)
		require.NoError(t, l.WriteKeyed(b.ctx, topic, []KeyValue{two}, time.Now()))
		records, err := l.ReadKeyed(b.ctx, topic)
		require.NoError(t, err)
		require.Equal(t, []KeyValue{one, two}, records)
	})
}

func TestIdentify(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		topic := b.topic(l, "named", 1)
		was, err := l.Topics().Identify(b.ctx, topic, b.name("missing"))
		require.NoError(t, err)
		require.NotEmpty(t, was.Cluster)
		require.Len(t, was.Topics, 1)
		require.NotZero(t, was.Topics[topic])
		_, err = l.admin.DeleteTopic(b.ctx, topic)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			_, err := l.admin.CreateTopic(b.ctx, 1, -1, nil, topic)
			return err == nil // a cluster's brokers learn of the deletion one after the other
		}, patience, 50*time.Millisecond)
		now, err := l.Topics().Identify(b.ctx, topic)
		require.NoError(t, err)
		require.NotZero(t, now.Topics[topic])
		require.NotEqual(t, was.Topics[topic], now.Topics[topic])
		require.Equal(t, was.Cluster, now.Cluster)
		none, err := l.Topics().Identify(b.ctx)
		require.NoError(t, err)
		require.Empty(t, none.Topics)

		offsets, err := l.GroupOffsets(b.ctx, b.name("nobody"))
		require.NoError(t, err)
		require.Empty(t, offsets)
		members, err := l.Members(b.ctx, b.name("nobody"))
		require.NoError(t, err)
		require.Zero(t, members)
	})
}
