package txn_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/txn"
)

// driver takes the machine's steps as a shard does, and checks that replay alone leads to the same state.
type driver struct {
	t   *testing.T
	m   *txn.Machine
	log []coord.Record
	now time.Time
}

func newDriver(t *testing.T) *driver {
	return &driver{t: t, m: newMachine(), now: time.UnixMilli(1_700_000_000_000)}
}

func newMachine() *txn.Machine {
	return txn.New(txn.Config{MaxTimeout: time.Hour, IDExpiry: 24 * time.Hour})
}

func (d *driver) take(step coord.Step) {
	d.t.Helper()
	for _, r := range step.Records {
		require.NoError(d.t, d.m.Replay(r, nil, d.now))
		d.log = append(d.log, r)
	}
	for _, after := range step.After {
		after(nil)
	}
	again := newMachine()
	for _, r := range d.log {
		require.NoError(d.t, again.Replay(r, nil, d.now))
	}
	require.ElementsMatch(d.t, d.m.IDs(), again.IDs())
	for _, id := range d.m.IDs() {
		want, _ := d.m.Describe(id)
		got, _ := again.Describe(id)
		require.Equal(d.t, want, got)
	}
}

func (d *driver) init(fresh int64) txn.InitResult {
	d.t.Helper()
	res, step := d.m.InitProducerID(txn.InitRequest{
		ID: "tx", Timeout: time.Minute, ProducerID: -1, Epoch: -1, FreshID: fresh,
	}, d.now)
	d.take(step)
	return res
}

func (d *driver) add(pid int64, epoch int16) *kerr.Error {
	d.t.Helper()
	step, err := d.m.Add(&txn.AddRequest{
		ID: "tx", ProducerID: pid, Epoch: epoch, Version2: true,
		Partitions: []txn.TopicPartition{{Topic: "t", Partition: 1}},
	}, d.now)
	d.take(step)
	return err
}

func (d *driver) end(pid int64, epoch int16, commit bool) txn.EndResult {
	d.t.Helper()
	res, step := d.m.End(txn.EndRequest{
		ID: "tx", ProducerID: pid, Epoch: epoch, Commit: commit, Version2: true, FreshID: 777,
	}, d.now)
	d.take(step)
	return res
}

func (d *driver) complete(e *txn.Ending) {
	d.t.Helper()
	require.NotNil(d.t, e)
	d.take(d.m.Complete(*e, d.now))
}

// at makes a transactional id that has reached an epoch.
func (d *driver) at(epoch int16) {
	key := kmsg.NewTxnMetadataKey()
	key.TransactionalID = "tx"
	v := kmsg.NewTxnMetadataValue()
	v.Version, v.ProducerID, v.ProducerEpoch, v.TimeoutMillis = 1, 5, epoch, 60_000
	v.PreviousProducerID, v.NextProducerID, v.StartTimestamp = -1, -1, -1
	v.LastUpdateTimestamp = d.now.UnixMilli()
	d.take(coord.Step{Records: []coord.Record{{Key: key.AppendTo(nil), Value: v.AppendTo(nil)}}})
}

func TestEpochsRunOut(t *testing.T) {
	d := newDriver(t)
	d.at(math.MaxInt16 - 1)
	require.Nil(t, d.add(5, math.MaxInt16-1))
	res := d.end(5, math.MaxInt16-1, true)
	require.Nil(t, res.Err)
	require.Equal(t, int64(777), res.ProducerID, "a new id, because the old one has no epochs left")
	require.Zero(t, res.Epoch)
	require.Equal(t, int16(math.MaxInt16), res.Ending.Epoch, "the markers fence the old id")
	require.Equal(t, int64(5), res.Ending.ProducerID)

	waiting := d.end(5, math.MaxInt16-1, true)
	require.True(t, waiting.Wait, "a repetition while the markers are written")
	require.Equal(t, int64(777), waiting.ProducerID)
	d.complete(res.Ending)
	again := d.end(5, math.MaxInt16-1, true)
	require.Nil(t, again.Err, "a repetition afterwards")
	require.Equal(t, int64(777), again.ProducerID)
	require.Nil(t, d.add(777, 0))
	require.Equal(t, kerr.InvalidProducerIDMapping, d.end(5, math.MaxInt16-1, true).Err)
}

func TestInitChangesTheIDWhenEpochsRunOut(t *testing.T) {
	d := newDriver(t)
	d.at(math.MaxInt16 - 1)
	res := d.init(900)
	require.Nil(t, res.Err)
	require.Equal(t, int64(900), res.ProducerID)
	require.Zero(t, res.Epoch)
	require.Equal(t, kerr.InvalidProducerIDMapping, d.add(5, math.MaxInt16-1))
}

func TestFencingAtTheLastEpoch(t *testing.T) {
	d := newDriver(t)
	d.at(math.MaxInt16 - 1)
	require.Nil(t, d.add(5, math.MaxInt16-1))
	res := d.init(900)
	require.NotNil(t, res.Abort)
	require.Equal(t, int16(math.MaxInt16), res.Abort.Epoch)
	require.Equal(t, kerr.ConcurrentTransactions, d.init(900).Err)
	d.complete(res.Abort)
	res = d.init(900)
	require.Nil(t, res.Err)
	require.Equal(t, int64(900), res.ProducerID)
}

func TestTimeoutAndExpiry(t *testing.T) {
	d := newDriver(t)
	first := d.init(3)
	require.Nil(t, d.add(first.ProducerID, first.Epoch))
	require.Equal(t, d.now.Add(time.Minute), d.m.Deadline())
	d.now = d.now.Add(time.Minute)
	d.take(d.m.Tick(d.now))
	due := d.m.TakeDue()
	require.Len(t, due, 1)
	require.Empty(t, d.m.TakeDue())
	require.False(t, due[0].Commit)
	require.Equal(t, due, d.m.Unfinished())
	ended := d.m.Ended("tx")
	select {
	case <-ended:
		t.Fatal("it has not ended")
	default:
	}
	d.complete(&due[0])
	<-ended
	require.Nil(t, d.m.Ended("tx"))
	require.Equal(t, kerr.ProducerFenced, d.end(first.ProducerID, first.Epoch, false).Err)
	d.now = d.m.Deadline()
	d.take(d.m.Tick(d.now))
	require.Empty(t, d.m.IDs())
	require.True(t, d.m.Deadline().IsZero())
}

func TestAdopt(t *testing.T) {
	d := newDriver(t)
	tp := txn.TopicPartition{Topic: "t", Partition: 9}
	first := d.init(3)
	step, orphan := d.m.Adopt(coord.Producer{ID: first.ProducerID, Epoch: first.Epoch}, tp, d.now)
	require.False(t, orphan)
	d.take(step)
	description, _ := d.m.Describe("tx")
	require.Equal(t, []txn.TopicPartition{tp}, description.Partitions)
	require.Equal(t, kmsg.TransactionStateOngoing, description.State)
	for _, stranger := range []coord.Producer{{ID: 3, Epoch: first.Epoch + 1}, {ID: 4}} {
		step, orphan = d.m.Adopt(stranger, txn.TopicPartition{Topic: "u"}, d.now)
		require.True(t, orphan)
		require.Empty(t, step.Records)
	}
	res := d.end(first.ProducerID, first.Epoch, true)
	_, orphan = d.m.Adopt(coord.Producer{ID: first.ProducerID, Epoch: first.Epoch}, tp, d.now)
	require.False(t, orphan, "its marker is on the way")
	d.complete(res.Ending)
	_, orphan = d.m.Adopt(coord.Producer{ID: first.ProducerID, Epoch: first.Epoch}, tp, d.now)
	require.True(t, orphan)
}

// A crash may keep the first batch of a producer's next transaction, and lose that the one before is complete.
func TestAdoptTheNextTransaction(t *testing.T) {
	before, other := txn.TopicPartition{Topic: "t", Partition: 1}, txn.TopicPartition{Topic: "t", Partition: 9}
	for _, written := range [][]txn.TopicPartition{{before}, {other}, {before, other}} {
		for _, commit := range []bool{true, false} {
			d := newDriver(t)
			first := d.init(3)
			require.Nil(t, d.add(first.ProducerID, first.Epoch))
			res := d.end(first.ProducerID, first.Epoch, commit)
			require.NotNil(t, res.Ending)
			for _, tp := range written {
				step, orphan := d.m.Adopt(coord.Producer{ID: res.ProducerID, Epoch: res.Epoch}, tp, d.now)
				require.False(t, orphan)
				d.take(step)
			}
			description, _ := d.m.Describe("tx")
			require.Equal(t, kmsg.TransactionStateOngoing, description.State)
			require.Equal(t, written, description.Partitions, "and none of the transaction before")
			require.Empty(t, d.m.Unfinished(), "a second marker would end the new transaction")
			next := d.end(res.ProducerID, res.Epoch, true)
			require.Nil(t, next.Err)
			require.Equal(t, written, next.Ending.Partitions)
		}
	}
}

func TestSnapshotIsTheState(t *testing.T) {
	d := newDriver(t)
	first := d.init(3)
	require.Nil(t, d.add(first.ProducerID, first.Epoch))
	d.log = nil
	d.m.Snapshot(func(r coord.Record) { d.log = append(d.log, r) })
	d.take(coord.Step{})
	require.Error(t, d.m.Replay(coord.Record{Key: []byte{9, 9, 9}}, nil, d.now))
	require.Error(t, d.m.Replay(coord.Record{Key: d.log[0].Key, Value: []byte{1}}, nil, d.now))
}

func TestTheFrequentAddAllocatesNothing(t *testing.T) {
	d := newDriver(t)
	first := d.init(3)
	r := &txn.AddRequest{
		ID: "tx", ProducerID: first.ProducerID, Epoch: first.Epoch, Version2: true,
		Partitions: []txn.TopicPartition{{Topic: "t", Partition: 1}},
	}
	step, err := d.m.Add(r, d.now)
	require.Nil(t, err)
	d.take(step)
	require.Zero(t, testing.AllocsPerRun(100, func() { d.m.Add(r, d.now) }))
}
