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
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// restart closes b and opens another on the same files.
func restart(t *testing.T, b *broker.Broker, fs vfs.FS) *broker.Broker {
	t.Helper()
	require.NoError(t, b.Close())
	return brokertest.New(t, brokertest.On(fs))
}

// cutPower opens a broker on what a power cut would have left of fs: everything that was synced to the disk, and an
// arbitrary part of the rest. The old broker keeps running in its own world until the test ends.
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
	require.NoError(t, commitOffset(t, b, "g", "kept", 1, 7))
	cluster := b.ClusterID()

	b = restart(t, b, fs)
	require.Equal(t, cluster, b.ClusterID())
	adm = kadm.NewClient(brokertest.Client(t, b))
	after, err := adm.ListTopics(within(t))
	require.NoError(t, err)
	require.Equal(t, before["kept"].ID, after["kept"].ID)
	require.Len(t, after["kept"].Partitions, 5)
	require.False(t, after.Has("deleted"))
	require.Equal(t, "-1", configsOf(t, brokertest.Client(t, b), ofTopic, "kept")["retention.ms"][0].value)
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
	m, err := joinAlone(t, b, "g")
	require.NoError(t, err)
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

// TestPowerCuts produces and ends transactions, cuts the power before a random change of a file or a directory, and
// looks for everything that was acknowledged before the cut. Many partitions are synced by one call for all.
func TestPowerCuts(t *testing.T) {
	for _, c := range []struct{ partitions, records, operations int }{{2, 5, 600}, {24, 24, 3000}} {
		t.Run(fmt.Sprintf("%d partitions", c.partitions), func(t *testing.T) {
			rnd := randomSource(t)
			mem := vfs.NewCrashableMem()
			for round := range 6 {
				power := faultfs.NewPowerCut(mem, rnd)
				b := brokertest.New(t, brokertest.On(faultfs.Whole{FS: power.FS()}))
				if round == 0 {
					createTopic(t, b, int32(c.partitions), "plain")
					createTopic(t, b, int32(c.partitions), "tx")
				}
				w := startWork(t, b, round, c.records)
				plainBefore, txBefore := int64(0), int64(0)
				power.Arm(1+rnd.IntN(c.operations), func() { plainBefore, txBefore = w.plain.Load(), w.tx.Load() })
				<-power.Done()
				w.stop()
				mem = power.Now()
				next := brokertest.New(t, brokertest.On(faultfs.Whole{FS: mem}))
				plain := countValues(t, next, "plain", round, c.partitions)
				tx := countValues(t, next, "tx", round, c.partitions)
				t.Logf("round %d: plain %d >= %d, tx %d >= %d", round, plain, plainBefore, tx, txBefore)
				require.GreaterOrEqual(t, plain, int(plainBefore))
				require.GreaterOrEqual(t, tx, int(txBefore))
				require.Zero(t, tx%c.records, "transactions are whole")
				require.NoError(t, next.Close())
			}
		})
	}
}

// work is two producers that run until they are stopped. Its counts are of what was acknowledged.
type work struct {
	plain, tx atomic.Int64
	stop      func()
}

func startWork(t *testing.T, b *broker.Broker, round, txRecords int) *work {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &work{}
	var wg sync.WaitGroup
	w.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(w.stop)
	plain := brokertest.Client(t, b, kgo.DefaultProduceTopic("plain"))
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if plain.ProduceSync(ctx, value(round, n)).FirstErr() == nil {
				w.plain.Add(1)
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
				w.tx.Add(int64(txRecords))
			}
		}
	})
	return w
}

func value(round, n int) *kgo.Record { return &kgo.Record{Value: fmt.Appendf(nil, "%d/%d", round, n)} }

// countValues reads a topic to its end, committed, and counts the values of a round. Each may be there once only.
func countValues(t *testing.T, b *broker.Broker, topic string, round, partitions int) int {
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
	for p := range int32(partitions) {
		offset := int64(0)
		for {
			results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{
				Isolation:  direct.ReadCommitted,
				Partitions: []direct.FetchPartition{{Topic: topic, Partition: p, Offset: offset}},
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
func committedValues(t *testing.T, r *direct.FetchResult, yield func(string)) (next int64) {
	t.Helper()
	records, next := decode(t, r)
	for _, rec := range records {
		if rec.marker == "" {
			yield(rec.value)
		}
	}
	return next
}

// decode returns the records of a fetch but for those of aborted transactions, and the next offset.
func decode(t *testing.T, r *direct.FetchResult) (records []modelRecord, next int64) {
	t.Helper()
	open, aborted := r.Aborted, map[int64]bool{}
	for _, run := range r.Batches {
		for b, err := range batch.BatchesOf(run) {
			require.NoError(t, err)
			require.NoError(t, b.Verify())
			next = b.LastOffset() + 1
			for ; len(open) > 0 && open[0].FirstOffset <= b.LastOffset(); open = open[1:] {
				aborted[open[0].ProducerID] = true
			}
			producer := modelProducerID{b.ProducerID(), b.ProducerEpoch()}
			if b.IsControl() {
				kind, _, err := b.Control()
				require.NoError(t, err)
				marker := "commit"
				if kind == batch.Abort {
					marker = "abort"
					delete(aborted, b.ProducerID())
				}
				records = append(records, modelRecord{
					offset: b.BaseOffset(), timestamp: b.MaxTimestamp(), marker: marker, producer: producer, transactional: true,
				})
				continue
			}
			if b.IsTransactional() && aborted[b.ProducerID()] {
				continue
			}
			it, err := b.Records(nil)
			require.NoError(t, err)
			var rec batch.Record
			for it.Next(&rec) {
				records = append(records, modelRecord{
					offset: rec.Offset, timestamp: rec.Timestamp, key: string(rec.Key), value: string(rec.Value),
					producer: producer, transactional: b.IsTransactional(),
				})
			}
			require.NoError(t, it.Err())
		}
	}
	return records, next
}
