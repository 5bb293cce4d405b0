package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

// rawProducer is a transactional producer of which every request is under the test's control.
type rawProducer struct {
	t        *testing.T
	b        *broker.Broker
	client   *kgo.Client
	id       string
	pid      int64
	epoch    int16
	sequence map[int32]int32
}

func newRawProducer(t *testing.T, b *broker.Broker, id string) *rawProducer {
	t.Helper()
	p := &rawProducer{t: t, b: b, client: brokertest.Client(t, b), id: id}
	require.NoError(t, p.init())
	return p
}

func (p *rawProducer) init() error {
	p.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = kmsg.StringPtr(p.id), 60_000
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(within(p.t), p.client)
	require.NoError(p.t, err)
	p.pid, p.epoch, p.sequence = resp.ProducerID, resp.ProducerEpoch, map[int32]int32{}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// batch returns one record, as the producer's next one for the partition.
func (p *rawProducer) batch(partition int32, value string) []byte {
	p.t.Helper()
	builder := batch.NewBuilder(batch.None)
	builder.Append(1_700_000_000_000, nil, []byte(value), nil)
	raw, err := builder.Finish(batch.Producer{
		ID: p.pid, Epoch: p.epoch, Sequence: p.sequence[partition], Transactional: p.id != "",
	})
	require.NoError(p.t, err)
	return raw
}

// produce sends one record; version 12 and above let the partition join the transaction.
func (p *rawProducer) produce(partition int32, value string) error {
	p.t.Helper()
	r := p.send(partition, p.batch(partition, value))
	if r.Err == nil {
		p.sequence[partition]++
	}
	return r.Err
}

func (p *rawProducer) send(partition int32, raw []byte) direct.ProduceResult {
	p.t.Helper()
	results, err := direct.Of(p.b).Produce(within(p.t), direct.ProduceRequest{
		TransactionalID: p.id,
		Partitions:      []direct.ProducePartition{{Topic: "t", Partition: partition, Batches: raw}},
	})
	require.NoError(p.t, err)
	return results[0]
}

// sendEach sends one record to each partition from first to end-1, in one request.
func (p *rawProducer) sendEach(first, end int32, value string) {
	p.t.Helper()
	req := direct.ProduceRequest{TransactionalID: p.id}
	for i := first; i < end; i++ {
		req.Partitions = append(req.Partitions, direct.ProducePartition{
			Topic: "t", Partition: i, Batches: p.batch(i, value),
		})
	}
	results, err := direct.Of(p.b).Produce(within(p.t), req)
	require.NoError(p.t, err)
	for i := range results {
		require.NoError(p.t, results[i].Err)
	}
}

// end ends the transaction; it takes the next epoch when the version is 5.
func (p *rawProducer) end(commit bool, version int16) error {
	p.t.Helper()
	resp := p.sendEnd(commit, version)
	if resp.ErrorCode == 0 && version >= 5 {
		p.pid, p.epoch, p.sequence = resp.ProducerID, resp.ProducerEpoch, map[int32]int32{}
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

func (p *rawProducer) sendEnd(commit bool, version int16) *kmsg.EndTxnResponse {
	p.t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.id, p.pid, p.epoch, commit
	client := p.client
	if version < 5 {
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(int16(kmsg.EndTxn), version)
		client = brokertest.Client(p.t, p.b, kgo.MaxVersions(versions))
	}
	resp, err := req.RequestWith(within(p.t), client)
	require.NoError(p.t, err)
	return resp
}

func fetchOne(t *testing.T, b *broker.Broker, partition int32, iso direct.Isolation) direct.FetchResult {
	t.Helper()
	results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{
		Isolation:  iso,
		Partitions: []direct.FetchPartition{{Topic: "t", Partition: partition}},
	})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	return results[0]
}

func committedIn(t *testing.T, b *broker.Broker, partition int32) []string {
	t.Helper()
	r := fetchOne(t, b, partition, direct.ReadCommitted)
	var out []string
	committedValues(t, &r, func(v string) { out = append(out, v) })
	return out
}

func TestCommitShowsAndAbortHides(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "a"))
	r := fetchOne(t, b, 0, direct.ReadUncommitted)
	require.Equal(t, int64(1), r.HighWatermark)
	require.Equal(t, int64(0), r.LastStableOffset)
	require.Empty(t, committedIn(t, b, 0))
	require.NoError(t, p.end(true, 5))
	require.Equal(t, []string{"a"}, committedIn(t, b, 0))

	require.NoError(t, p.produce(0, "b"))
	require.NoError(t, p.produce(1, "b"))
	require.NoError(t, p.end(false, 5))
	require.Equal(t, []string{"a"}, committedIn(t, b, 0))
	require.Empty(t, committedIn(t, b, 1))
	r = fetchOne(t, b, 0, direct.ReadCommitted)
	require.Equal(t, []direct.AbortedTxn{{ProducerID: p.pid, FirstOffset: 2}}, r.Aborted)
	require.Equal(t, int64(4), r.LastStableOffset, "two markers lie in the log")
	require.Nil(t, fetchOne(t, b, 0, direct.ReadUncommitted).Aborted)
}

// KIP-890: every transaction has an epoch of its own.
func TestDelayedEndTxnCannotEndALaterTransaction(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "first"))
	delayed := *p
	require.NoError(t, p.end(true, 5))
	require.Equal(t, delayed.epoch+1, p.epoch)

	repeated := delayed.sendEnd(true, 5)
	require.NoError(t, kerr.ErrorForCode(repeated.ErrorCode), "a repetition is answered as the first one was")
	require.Equal(t, p.epoch, repeated.ProducerEpoch)
	require.ErrorIs(t, delayed.end(false, 5), kerr.InvalidTxnState)

	require.NoError(t, p.produce(0, "second"))
	require.ErrorIs(t, delayed.end(true, 5), kerr.ProducerFenced)
	require.ErrorIs(t, delayed.end(false, 5), kerr.ProducerFenced)
	require.ErrorIs(t, delayed.produce(0, "late"), kerr.InvalidProducerEpoch)
	require.Equal(t, []string{"first"}, committedIn(t, b, 0))
	require.NoError(t, p.end(true, 5))
	require.Equal(t, []string{"first", "second"}, committedIn(t, b, 0))
}

func TestOldProducersKeepTheirEpoch(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	epoch := p.epoch
	for i := range 3 {
		require.NoError(t, p.produce(0, fmt.Sprint(i)))
		require.NoError(t, p.end(true, 4))
		require.NoError(t, p.end(true, 4), "a repetition")
		require.ErrorIs(t, p.end(false, 4), kerr.InvalidTxnState)
	}
	require.Equal(t, epoch, p.epoch)
	require.Equal(t, []string{"0", "1", "2"}, committedIn(t, b, 0))
}

func TestInitProducerIDFencesAndAborts(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	old := newRawProducer(t, b, "tx")
	require.NoError(t, old.produce(0, "never"))
	next := newRawProducer(t, b, "tx")
	require.Equal(t, old.pid, next.pid)
	require.Greater(t, next.epoch, old.epoch)
	require.ErrorIs(t, old.produce(0, "fenced"), kerr.InvalidProducerEpoch)
	require.ErrorIs(t, old.end(true, 5), kerr.ProducerFenced)
	require.ErrorIs(t, old.end(false, 5), kerr.ProducerFenced)
	require.NoError(t, next.produce(0, "once"))
	require.NoError(t, next.end(true, 5))
	require.Equal(t, []string{"once"}, committedIn(t, b, 0))
}

func TestInitProducerIDWithAnEpochOfItsOwn(t *testing.T) {
	b := brokertest.New(t)
	p := newRawProducer(t, b, "tx")
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = kmsg.StringPtr("tx"), 60_000
	req.ProducerID, req.ProducerEpoch = p.pid, p.epoch
	for range 2 { // the second is a repetition
		resp, err := req.RequestWith(within(t), p.client)
		require.NoError(t, err)
		require.NoError(t, kerr.ErrorForCode(resp.ErrorCode))
		require.Equal(t, p.epoch+1, resp.ProducerEpoch)
	}
	req.ProducerEpoch += 7
	resp, err := req.RequestWith(within(t), p.client)
	require.NoError(t, err)
	require.ErrorIs(t, kerr.ErrorForCode(resp.ErrorCode), kerr.ProducerFenced)

	req.TransactionTimeoutMillis = int32(time.Hour.Milliseconds())
	resp, err = req.RequestWith(within(t), p.client)
	require.NoError(t, err)
	require.ErrorIs(t, kerr.ErrorForCode(resp.ErrorCode), kerr.InvalidTransactionTimeout)
}

func TestTransactionTimesOut(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, brokertest.At(clock))
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "slow"))
	clock.Advance(59 * time.Second)
	require.Equal(t, int64(0), fetchOne(t, b, 0, direct.ReadCommitted).LastStableOffset)
	clock.Advance(2 * time.Second)
	results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{ // woken by the marker
		Isolation: direct.ReadCommitted, MinBytes: 1, MaxWait: time.Hour,
		Partitions: []direct.FetchPartition{{Topic: "t", Offset: 0}},
	})
	require.NoError(t, err)
	require.Equal(t, int64(2), results[0].LastStableOffset)
	require.Empty(t, committedIn(t, b, 0))
	require.ErrorIs(t, p.end(true, 5), kerr.ProducerFenced)
	require.ErrorIs(t, p.produce(0, "late"), kerr.InvalidProducerEpoch)
	require.NoError(t, p.init())
	require.NoError(t, p.produce(0, "again"))
	require.NoError(t, p.end(true, 5))
	require.Equal(t, []string{"again"}, committedIn(t, b, 0))
}

// fast is a clock that is ahead of the system's. It has no lock, which would hide a race from the detector.
type fast time.Duration

func (c fast) Now() time.Time { return time.Now().Add(time.Duration(c)) }

func (c fast) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

// A transaction that ran out of time while the broker was down is due before the broker has opened.
func TestTransactionTimesOutWhileTheBrokerIsDown(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "slow"))
	require.NoError(t, b.Close())
	b = brokertest.New(t, brokertest.On(fs), brokertest.Configure(func(cfg *broker.Config) {
		cfg.Clock = fast(2 * time.Minute)
	}))
	results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{ // woken by the marker
		Isolation: direct.ReadCommitted, MinBytes: 1, MaxWait: time.Hour,
		Partitions: []direct.FetchPartition{{Topic: "t", Offset: 0}},
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, results[0].LastStableOffset, int64(2), "there may be a second marker")
	require.Empty(t, committedIn(t, b, 0))
}

func TestAbortOfWhatTheBrokerNeverHeardOf(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	require.ErrorIs(t, p.end(true, 5), kerr.InvalidTxnState)
	delayed := *p
	require.NoError(t, p.end(false, 5))
	require.ErrorIs(t, delayed.produce(0, "late"), kerr.InvalidProducerEpoch)
}

// An open transaction continues after a crash, with the partitions that joined it by their data, whatever of the
// coordinator's records survived.
func TestOpenTransactionSurvivesACrash(t *testing.T) {
	rnd := randomSource(t)
	for _, commit := range []bool{true, false} {
		fs := vfs.NewCrashableMem()
		b := brokertest.New(t, brokertest.On(fs))
		createTopic(t, b, 2, "t")
		p := newRawProducer(t, b, "tx")
		require.NoError(t, p.produce(0, "a"))
		require.NoError(t, p.produce(1, "b"))
		repeat := p.batch(0, "c")
		first := p.send(0, repeat)
		require.NoError(t, first.Err)

		b, _ = cutPower(t, fs, rnd)
		p.b, p.client = b, brokertest.Client(t, b)
		again := p.send(0, repeat)
		require.NoError(t, again.Err, "an idempotent retry across the crash")
		require.Equal(t, first.BaseOffset, again.BaseOffset)
		p.sequence[0]++
		require.NoError(t, p.produce(0, "d"))
		require.NoError(t, p.end(commit, 5))
		if commit {
			require.Equal(t, []string{"a", "c", "d"}, committedIn(t, b, 0))
			require.Equal(t, []string{"b"}, committedIn(t, b, 1))
		} else {
			require.Empty(t, append(committedIn(t, b, 0), committedIn(t, b, 1)...))
		}
	}
}

func TestOffsetsOfATransaction(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	adm := kadm.NewClient(p.client)
	stable := func() (int64, error) {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group, req.RequireStable = "g", true
		topic := kmsg.NewOffsetFetchRequestTopic()
		topic.Topic, topic.Partitions = "t", []int32{0}
		req.Topics = append(req.Topics, topic)
		rg := kmsg.NewOffsetFetchRequestGroup()
		rg.Group = "g"
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = "t", []int32{0}
		metadata, err := adm.ListTopics(within(t))
		require.NoError(t, err)
		gt.TopicID = metadata["t"].ID
		rg.Topics = append(rg.Topics, gt)
		req.Groups = append(req.Groups, rg)
		resp, err := req.RequestWith(within(t), p.client)
		require.NoError(t, err)
		part := resp.Groups[0].Topics[0].Partitions[0]
		return part.Offset, kerr.ErrorForCode(part.ErrorCode)
	}
	offset, err := stable()
	require.NoError(t, err, "an unknown group is no error")
	require.Equal(t, int64(-1), offset)

	require.NoError(t, p.commitOffset("g", 5))
	_, err = stable()
	require.ErrorIs(t, err, kerr.UnstableOffsetCommit)
	require.NoError(t, p.end(false, 5))
	offset, err = stable()
	require.NoError(t, err)
	require.Equal(t, int64(-1), offset)

	require.NoError(t, p.commitOffset("g", 6))
	require.NoError(t, p.end(true, 5))
	offset, err = stable()
	require.NoError(t, err)
	require.Equal(t, int64(6), offset)
}

func (p *rawProducer) commitOffset(group string, offset int64) error {
	p.t.Helper()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = p.id, group, p.pid, p.epoch
	req.Generation = -1
	metadata, err := kadm.NewClient(p.client).ListTopics(within(p.t))
	require.NoError(p.t, err)
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = "t", metadata["t"].ID
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Offset = offset
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(within(p.t), p.client)
	require.NoError(p.t, err)
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func TestTransactionsAreDescribed(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	p := newRawProducer(t, b, "tx")
	newRawProducer(t, b, "idle")
	require.NoError(t, p.produce(1, "v"))
	adm := kadm.NewClient(p.client)
	listed, err := adm.ListTransactions(within(t), nil, []string{"Ongoing"})
	require.NoError(t, err)
	require.Equal(t, []string{"tx"}, listed.TransactionalIDs())
	all, err := adm.ListTransactions(within(t), nil, nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	described, err := adm.DescribeTransactions(within(t), "tx", "unknown")
	require.NoError(t, err)
	require.Equal(t, p.pid, described["tx"].ProducerID)
	require.Contains(t, described["tx"].Topics["t"], int32(1))
	require.ErrorIs(t, described["unknown"].Err, kerr.TransactionalIDNotFound)
	var set kadm.TopicsSet
	set.Add("t", 1)
	producers, err := adm.DescribeProducers(within(t), set)
	require.NoError(t, err)
	require.Contains(t, producers["t"].Partitions[1].ActiveProducers, p.pid)
}

// A broker on an older copy of a directory hands out none of the ids that the original has handed out since.
func TestProducerIDsOfACopyDiffer(t *testing.T) {
	fs := vfs.NewCrashableMem()
	require.NoError(t, brokertest.New(t, brokertest.On(fs)).Close())
	copied := fs.CrashClone(vfs.CrashCloneCfg{})
	seen := map[int64]bool{}
	for range 3 { // the original, and the copy twice
		b := brokertest.New(t, brokertest.On(fs))
		client := brokertest.Client(t, b)
		for range 3 {
			resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(within(t), client)
			require.NoError(t, err)
			require.NoError(t, kerr.ErrorForCode(resp.ErrorCode))
			require.False(t, seen[resp.ProducerID])
			seen[resp.ProducerID] = true
		}
		require.NoError(t, b.Close())
		fs = copied
	}
}

// A producer that has a new epoch in each transaction begins at sequence 0: another one means that batches are missing.
// An idempotent producer that a log does not know, or has forgotten, may begin anywhere, as with Apache Kafka.
func TestSequencesOfUnknownProducers(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	p := newRawProducer(t, b, "tx")
	p.sequence[0] = 7
	require.ErrorIs(t, p.produce(0, "lost its predecessors"), kerr.OutOfOrderSequenceNumber)
	p.sequence[0] = 0
	require.NoError(t, p.produce(0, "first"))
	require.NoError(t, p.produce(0, "second"))
	idempotent := &rawProducer{t: t, b: b, pid: 4711, sequence: map[int32]int32{1: 7}}
	require.NoError(t, idempotent.produce(1, "forgotten"))
}

// Transactions that ran out of time while the broker was down are ended once: by what is left unfinished, or by their
// timers.
func TestTransactionsThatTimedOutMeanwhileEndOnce(t *testing.T) {
	const n = 30
	for range 10 {
		fs, clock := vfs.NewMem(), brokertest.NewClock()
		b := brokertest.New(t, brokertest.On(fs), brokertest.At(clock))
		createTopic(t, b, 1, "t")
		for i := range n {
			require.NoError(t, newRawProducer(t, b, fmt.Sprint("tx", i)).produce(0, "v"))
		}
		require.NoError(t, b.Close())
		clock.Advance(time.Hour)
		b = brokertest.New(t, brokertest.On(fs), brokertest.At(clock))
		require.Eventually(t, func() bool {
			r := fetchOne(t, b, 0, direct.ReadUncommitted)
			return r.HighWatermark >= 2*n && r.LastStableOffset == r.HighWatermark
		}, time.Minute, time.Millisecond)
		adm := kadm.NewClient(brokertest.Client(t, b))
		require.Eventually(t, func() bool { // a start writes the markers again of what is not noted as ended
			ended, err := adm.ListTransactions(within(t), nil, []string{"CompleteAbort"})
			return err == nil && len(ended) == n
		}, time.Minute, time.Millisecond)
		require.NoError(t, b.Close())
		b = brokertest.New(t, brokertest.On(fs), brokertest.At(clock))
		require.EqualValues(t, 2*n, fetchOne(t, b, 0, direct.ReadUncommitted).HighWatermark, "a marker for each")
		require.NoError(t, b.Close())
	}
}
