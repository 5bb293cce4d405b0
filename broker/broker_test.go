package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// patience bounds what a test waits for. It is long: a busy machine must not make a test fail.
const patience = 2 * time.Minute

// within bounds a test that talks to a broker.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func createTopic(t *testing.T, b *broker.Broker, partitions int32, topic string) {
	t.Helper()
	adm := kadm.NewClient(brokertest.Client(t, b))
	_, err := adm.CreateTopic(within(t), partitions, 1, nil, topic)
	require.NoError(t, err)
}

// commitOffset commits an offset of a group from outside of it.
func commitOffset(t *testing.T, b *broker.Broker, group, topic string, partition int32, at int64) error {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, at, 0)
	return kadm.NewClient(brokertest.Client(t, b)).CommitAllOffsets(within(t), group, offsets)
}

// appendBytes makes a file longer.
func appendBytes(t *testing.T, fs vfs.FS, name string, more []byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	_, err = f.WriteAt(more, info.Size())
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// consume reads n records.
func consume(t *testing.T, client *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx := within(t)
	var records []*kgo.Record
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		records = append(records, fetches.Records()...)
	}
	require.Len(t, records, n)
	return records
}

func produceValues(t *testing.T, client *kgo.Client, topic, prefix string, n int) {
	t.Helper()
	ctx := within(t)
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%s%d", prefix, i)}
	}
	require.NoError(t, client.ProduceSync(ctx, records...).FirstErr())
}

func values(records []*kgo.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func TestProduceAndConsume(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "orders")
	client := brokertest.Client(t, b, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	produceValues(t, client, "orders", "v", 100)
	records := consume(t, client, 100)
	for i, r := range records {
		require.Equal(t, int64(i), r.Offset)
		require.Equal(t, fmt.Sprintf("v%d", i), string(r.Value))
	}
}

func TestGroup(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 4, "in")
	produceValues(t, brokertest.Client(t, b), "in", "v", 40)
	opts := []kgo.Opt{kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit()}
	first := brokertest.Client(t, b, opts...)
	consume(t, first, 40)
	require.NoError(t, first.CommitUncommittedOffsets(within(t)))
	first.LeaveGroup()

	produceValues(t, brokertest.Client(t, b), "in", "w", 3)
	second := brokertest.Client(t, b, opts...)
	for _, v := range values(consume(t, second, 3)) {
		require.Equal(t, "w", v[:1])
	}
}

func TestTransactions(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "out")
	producer := brokertest.Client(t, b, kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("out"))
	for round, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		require.NoError(t, producer.BeginTransaction())
		produceValues(t, producer, "out", fmt.Sprintf("%d-", round), 10)
		require.NoError(t, producer.EndTransaction(within(t), end))
	}
	opts := []kgo.Opt{kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
	committed := brokertest.Client(t, b, append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	for _, v := range values(consume(t, committed, 20)) {
		require.NotEqual(t, "1", v[:1])
	}
	all := brokertest.Client(t, b, append(opts, kgo.FetchIsolationLevel(kgo.ReadUncommitted()))...)
	consume(t, all, 30)
}
