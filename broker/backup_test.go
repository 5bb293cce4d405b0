package broker_test

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// openCopy opens a broker on a copy.
func openCopy(t *testing.T, fs vfs.FS, dir string, opts ...brokertest.Option) *broker.Broker {
	t.Helper()
	place := brokertest.Configure(func(cfg *broker.Config) { cfg.FS, cfg.Dir = fs, dir })
	return brokertest.New(t, append(opts, place)...)
}

// valuesOf returns the committed values of a partition.
func valuesOf(t *testing.T, b *broker.Broker, topic string, partition int32) (all []string) {
	t.Helper()
	for offset := int64(0); ; {
		results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{
			Isolation:  direct.ReadCommitted,
			Partitions: []direct.FetchPartition{{Topic: topic, Partition: partition, Offset: offset}},
		})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
		if len(results[0].Batches) == 0 {
			require.Equal(t, results[0].HighWatermark, results[0].LastStableOffset, "nothing hangs")
			return all
		}
		offset = committedValues(t, &results[0], func(v string) { all = append(all, v) })
	}
}

// TestBackupIsOfOneMoment copies while records go to one topic and then to another, while offsets are committed for
// what was acknowledged, and while transactions write to two partitions at once. In each copy the second topic is never
// ahead of the first, nor the group of what it read, and each transaction is in both partitions or in none.
func TestBackupIsOfOneMoment(t *testing.T) {
	fs := vfs.NewMem()
	small := brokertest.Configure(func(cfg *broker.Config) { cfg.TopicDefaults = map[string]string{"segment.ms": "100"} })
	b := brokertest.New(t, brokertest.On(fs), small)
	for _, topic := range []string{"first", "second", "t"} {
		createTopic(t, b, 2, topic)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var rounds atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		admin := kadm.NewClient(brokertest.Client(t, b))
		order, tx := plain(t, b), newRawProducer(t, b, "tx")
		for n := int64(1); ctx.Err() == nil; n++ {
			for _, topic := range []string{"first", "second"} {
				results, err := direct.Of(b).Produce(within(t), direct.ProduceRequest{Partitions: []direct.ProducePartition{
					{Topic: topic, Batches: order.batch(0, strconv.FormatInt(n, 10))},
				}})
				if err != nil || results[0].Err != nil {
					t.Error("produce", err, results[0].Err)
					return
				}
			}
			offsets := kadm.Offsets{}
			offsets.AddOffset("first", 0, n, -1)
			if err := admin.CommitAllOffsets(within(t), "g", offsets); err != nil {
				t.Error("commit offsets", err)
				return
			}
			for partition := range int32(2) {
				if err := tx.produce(partition, strconv.FormatInt(n, 10)); err != nil {
					t.Error("produce in a transaction", err)
				}
			}
			if err := tx.end(n%4 != 0, 5); err != nil {
				t.Error("end", err)
			}
			rounds.Store(n)
		}
	}()
	const copies = 8
	dirs := make([]string, copies)
	for i := range dirs {
		before := rounds.Load()
		require.Eventually(t, func() bool { return rounds.Load() >= before+8 }, patience, time.Millisecond)
		dirs[i] = "copies/" + strconv.Itoa(i)
		require.NoError(t, b.Backup(within(t), dirs[i]))
	}
	cancel()
	<-done
	require.NoError(t, b.Close())

	for i, dir := range dirs {
		c := openCopy(t, fs, dir, small)
		require.Zero(t, c.Stats().OfflinePartitions)
		adm := kadm.NewClient(brokertest.Client(t, c))
		// The producer of the transaction that was open comes back, and ends it.
		tx := newRawProducer(t, c, "tx")
		first, second := valuesOf(t, c, "first", 0), valuesOf(t, c, "second", 0)
		require.Greater(t, len(first), 8*i)
		require.LessOrEqual(t, len(second), len(first))
		require.LessOrEqual(t, len(first), len(second)+1)
		group, err := adm.FetchOffsets(within(t), "g")
		require.NoError(t, err)
		at, ok := group.Lookup("first", 0)
		require.True(t, ok)
		require.LessOrEqual(t, at.At, int64(len(second)))
		require.GreaterOrEqual(t, at.At+1, int64(len(second)))
		require.Equal(t, valuesOf(t, c, "t", 0), valuesOf(t, c, "t", 1))
		require.NoError(t, tx.produce(0, "goes on"))
		require.NoError(t, tx.end(true, 5))
		values := valuesOf(t, c, "t", 0)
		require.Equal(t, "goes on", values[len(values)-1])
		require.NoError(t, c.Close())
	}
}

// What a producer sent before the copy was made is recognized when it is sent to the copy.
func TestBackupKnowsProducersAndOpenTransactions(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 2, "t")
	p := newRawProducer(t, b, "tx")
	open := p.batch(0, "open")
	require.NoError(t, p.produce(0, "open"))
	require.NoError(t, b.Backup(within(t), "copy"))
	require.NoError(t, p.end(false, 5))

	c := openCopy(t, fs, "copy")
	require.Equal(t, b.ClusterID(), c.ClusterID())
	q := &rawProducer{t: t, b: c, client: brokertest.Client(t, c), id: "tx", sequence: map[int32]int32{0: 1}}
	q.pid, q.epoch = p.pid, p.epoch-1
	require.NoError(t, q.send(0, open).Err, "a repetition")
	require.NoError(t, q.produce(0, "more"))
	require.NoError(t, q.end(true, 5))
	require.Equal(t, []string{"open", "more"}, committedIn(t, c, 0))
	require.Empty(t, committedIn(t, b, 0))
}

func TestBackupsThatFail(t *testing.T) {
	full := failing("copy", context.DeadlineExceeded, errorfs.OpFileWrite)
	fs := faultfs.New(vfs.NewMem())
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 1, "t")
	produceValues(t, brokertest.Client(t, b), "t", "v", 10)
	fs.Fail(full)
	require.ErrorIs(t, b.Backup(within(t), "copy"), context.DeadlineExceeded)
	fs.Fail(nil)
	left, err := fs.List("")
	require.NoError(t, err)
	require.NotContains(t, strings.Join(left, " "), "copy", "nothing is left")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Backup(gone, "copy"), context.Canceled)
	require.NoError(t, b.Backup(within(t), "copy"))
	require.ErrorContains(t, b.Backup(within(t), "copy"), "not empty")
	dirs, err := fs.List("broker")
	require.NoError(t, err)
	require.NotContains(t, dirs, "BACKUP")
	require.ErrorContains(t, b.Backup(within(t), ""), "name a directory")
	require.NoError(t, fs.MkdirAll("mine.partial", 0o700))
	require.ErrorContains(t, b.Backup(within(t), "mine/"), "mine.partial is in the way")
	_, err = fs.Stat("mine.partial")
	require.NoError(t, err)

	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Backup(within(t), "late"), broker.ErrClosed)
	require.NoError(t, fs.Remove("broker/t-0/00000000000000000000.log"))
	b = brokertest.New(t, brokertest.On(fs))
	require.ErrorContains(t, b.Backup(within(t), "other"), "t-0 is offline")
	p := plain(t, b)
	require.ErrorIs(t, p.send(0, p.batch(0, "v")).Err, kerr.KafkaStorageError)
}
