package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
)

// restart closes b and opens another on the same files.
func restart(t *testing.T, b *broker.Broker, fs vfs.FS) *broker.Broker {
	t.Helper()
	require.NoError(t, b.Close())
	return brokertest.New(t, brokertest.On(fs))
}

// cutPower opens a broker on what a power cut would have left of fs: everything that was forced to the disk, and an
// arbitrary part of the rest. The old broker goes on in its own world until the test ends.
func cutPower(t *testing.T, fs *vfs.MemFS, rnd *rand.Rand) (*broker.Broker, *vfs.MemFS) {
	t.Helper()
	left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
	return brokertest.New(t, brokertest.On(left)), left
}

func randomSource(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestRestartKeepsEverything(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 3, "kept")
	createTopic(t, b, 1, "deleted")
	adm := kadm.NewClient(brokertest.Client(t, b))
	_, err := adm.DeleteTopics(within(t), "deleted")
	require.NoError(t, err)
	forever := []kadm.AlterConfig{{Name: "retention.ms", Value: kmsg.StringPtr("-1")}}
	_, err = adm.AlterTopicConfigs(within(t), forever, "kept")
	require.NoError(t, err)
	_, err = adm.CreatePartitions(within(t), 2, "kept")
	require.NoError(t, err)
	before, err := adm.ListTopics(within(t))
	require.NoError(t, err)
	require.Len(t, before["kept"].Partitions, 5)

	produceValues(t, brokertest.Client(t, b), "kept", "v", 50)
	offsets := kadm.Offsets{}
	offsets.AddOffset("kept", 1, 7, 0)
	require.NoError(t, adm.CommitAllOffsets(within(t), "g", offsets))
	cluster := b.ClusterID()

	b = restart(t, b, fs)
	require.Equal(t, cluster, b.ClusterID())
	adm = kadm.NewClient(brokertest.Client(t, b))
	after, err := adm.ListTopics(within(t))
	require.NoError(t, err)
	require.Equal(t, before["kept"].ID, after["kept"].ID)
	require.Len(t, after["kept"].Partitions, 5)
	require.False(t, after.Has("deleted"))
	configs, err := adm.DescribeTopicConfigs(within(t), "kept")
	require.NoError(t, err)
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" {
			require.Equal(t, "-1", *c.Value)
		}
	}
	fetched, err := adm.FetchOffsets(within(t), "g")
	require.NoError(t, err)
	at, ok := fetched.Lookup("kept", 1)
	require.True(t, ok)
	require.Equal(t, int64(7), at.At)
	consume(t, brokertest.Client(t, b, kgo.ConsumeTopics("kept"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 50)
	produceValues(t, brokertest.Client(t, b), "kept", "w", 5)
}

func TestMembersSurviveARestart(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs))
	m := joinAlone(t, b, "g")
	b = restart(t, b, fs)
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = "g", m.MemberID, m.Generation
	resp, err := beat.RequestWith(within(t), brokertest.Client(t, b))
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.ErrorCode))
	groups, err := kadm.NewClient(brokertest.Client(t, b)).DescribeGroups(within(t), "g")
	require.NoError(t, err)
	require.Equal(t, "Stable", groups["g"].State)
	require.Len(t, groups["g"].Members, 1)
}

// TestPowerCuts produces and ends transactions, cuts the power between any two writes, and looks for everything that
// was acknowledged before the cut.
func TestPowerCuts(t *testing.T) {
	rnd := randomSource(t)
	fs := vfs.NewCrashableMem()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 2, "plain")
	createTopic(t, b, 2, "tx")
	for round := range 6 {
		w := startWork(t, b, round)
		for range 1 + rnd.IntN(30) {
			<-w.progress
		}
		plainBefore, txBefore := w.plain.Load(), w.tx.Load()
		next, left := cutPower(t, fs, rnd)
		w.stop()
		plain, tx := countValues(t, next, "plain", round), countValues(t, next, "tx", round)
		t.Logf("round %d: plain %d >= %d, tx %d >= %d", round, plain, plainBefore, tx, txBefore)
		require.GreaterOrEqual(t, plain, int(plainBefore))
		require.GreaterOrEqual(t, tx, int(txBefore))
		require.Zero(t, tx%txRecords, "transactions are whole")
		b, fs = next, left
	}
}

const txRecords = 5

// work is two producers that go on until they are stopped. Its counts are of what was acknowledged.
type work struct {
	plain, tx atomic.Int64
	progress  chan struct{}
	stop      func()
}

func startWork(t *testing.T, b *broker.Broker, round int) *work {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &work{progress: make(chan struct{})}
	var wg sync.WaitGroup
	w.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(w.stop)
	note := func(count *atomic.Int64, n int64) {
		count.Add(n)
		select {
		case w.progress <- struct{}{}:
		case <-ctx.Done():
		}
	}
	plain := brokertest.Client(t, b, kgo.DefaultProduceTopic("plain"))
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if plain.ProduceSync(ctx, value(round, n)).FirstErr() == nil {
				note(&w.plain, 1)
			}
		}
	})
	tx := brokertest.Client(t, b, kgo.DefaultProduceTopic("tx"), kgo.TransactionalID(fmt.Sprintf("t%d", round%2)),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if tx.BeginTransaction() != nil {
				return
			}
			var records []*kgo.Record
			for i := range txRecords {
				records = append(records, value(round, n*txRecords+i))
			}
			err := tx.ProduceSync(ctx, records...).FirstErr()
			if tx.EndTransaction(ctx, err == nil) == nil && err == nil {
				note(&w.tx, txRecords)
			}
		}
	})
	return w
}

func value(round, n int) *kgo.Record { return &kgo.Record{Value: fmt.Appendf(nil, "%d/%d", round, n)} }

// countValues reads a topic to its end, committed, and counts the values of a round. Each may be there once only.
func countValues(t *testing.T, b *broker.Broker, topic string, round int) int {
	t.Helper()
	client := brokertest.Client(t, b)
	// A transaction that was open at the cut has to end before there is an end to read to.
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = kmsg.StringPtr(fmt.Sprintf("t%d", round%2)), 60_000
	init.ProducerID, init.ProducerEpoch = -1, -1
	resp, err := init.RequestWith(within(t), client)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.ErrorCode))
	seen := map[string]bool{}
	for p := range int32(2) {
		offset := int64(0)
		for {
			results, err := b.Fetch(within(t), broker.FetchRequest{
				Isolation:  broker.ReadCommitted,
				Partitions: []broker.FetchPartition{{Topic: topic, Partition: p, Offset: offset}},
			})
			require.NoError(t, err)
			require.NoError(t, results[0].Err)
			require.Equal(t, results[0].HighWatermark, results[0].LastStableOffset, "nothing hangs")
			if len(results[0].Batches) == 0 {
				break
			}
			offset = committedValues(t, &results[0], func(v string) {
				require.False(t, seen[v], "%s twice", v)
				seen[v] = true
			})
		}
	}
	n := 0
	for v := range seen {
		if strings.HasPrefix(v, fmt.Sprintf("%d/", round)) {
			n++
		}
	}
	return n
}

// committedValues yields the values of a fetch but for those of aborted transactions, and returns the next offset.
func committedValues(t *testing.T, r *broker.FetchResult, yield func(string)) (next int64) {
	t.Helper()
	open := r.Aborted
	aborted := map[int64]bool{}
	for _, run := range r.Batches {
		for b, err := range batch.BatchesOf(run) {
			require.NoError(t, err)
			require.NoError(t, b.Verify())
			next = b.LastOffset() + 1
			for len(open) > 0 && open[0].FirstOffset <= b.LastOffset() {
				aborted[open[0].ProducerID] = true
				open = open[1:]
			}
			if b.IsControl() {
				if kind, _, err := b.Control(); err == nil && kind == batch.Abort {
					delete(aborted, b.ProducerID())
				}
				continue
			}
			if b.IsTransactional() && aborted[b.ProducerID()] {
				continue
			}
			it, err := b.Records(nil)
			require.NoError(t, err)
			var rec batch.Record
			for it.Next(&rec) {
				yield(string(rec.Value))
			}
			require.NoError(t, it.Err())
		}
	}
	return next
}

// joinAlone makes a group of one, stable.
func joinAlone(t *testing.T, b *broker.Broker, id string) *kmsg.JoinGroupResponse {
	t.Helper()
	client := brokertest.Client(t, b)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType = id, "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 30_000, 30_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", []byte("metadata")
	join.Protocols = append(join.Protocols, protocol)
	resp, err := join.RequestWith(within(t), client)
	require.NoError(t, err)
	require.ErrorIs(t, kerr.ErrorForCode(resp.ErrorCode), kerr.MemberIDRequired)
	join.MemberID = resp.MemberID
	resp, err = join.RequestWith(within(t), client)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.ErrorCode))
	require.Equal(t, resp.MemberID, resp.LeaderID)
	require.Len(t, resp.Members, 1)
	require.Equal(t, "metadata", string(resp.Members[0].ProtocolMetadata))

	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = id, resp.MemberID, resp.Generation
	sync.ProtocolType, sync.Protocol = resp.ProtocolType, resp.Protocol
	part := kmsg.NewSyncGroupRequestGroupAssignment()
	part.MemberID, part.MemberAssignment = resp.MemberID, []byte("all of it")
	sync.GroupAssignment = append(sync.GroupAssignment, part)
	synced, err := sync.RequestWith(within(t), client)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(synced.ErrorCode))
	require.Equal(t, "all of it", string(synced.MemberAssignment))
	return resp
}
