package broker_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// TestEntriesOfAPartitionAreSyncedAtOnce sends several batches of a partition in one request: each is appended or
// refused for itself, and the disk is waited for once.
func TestEntriesOfAPartitionAreSyncedAtOnce(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	syncs := &faultfs.Fault{Path: "t-0", Kind: faultfs.Syncs} // it counts, and fails nothing
	fs.Fail(syncs)
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 2, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "a")) // the partition is in the transaction
	before := syncs.Hits.Load()
	var parts []direct.ProducePartition
	for i, v := range []string{"b", "out of order", "c", "d"} {
		if p.sequence[0] = int32(i); i == 0 || i == 1 {
			p.sequence[0] = int32(1 + 6*i)
		}
		parts = append(parts, direct.ProducePartition{Topic: "t", Partition: 0, Batches: p.batch(0, v)})
	}
	results, err := direct.Of(b).Produce(within(t), direct.ProduceRequest{TransactionalID: "tx", Partitions: parts})
	require.NoError(t, err)
	for i, r := range results {
		if i == 1 {
			require.ErrorIs(t, r.Err, kerr.OutOfOrderSequenceNumber)
		} else {
			require.NoError(t, r.Err, i)
		}
	}
	require.EqualValues(t, 3, results[3].BaseOffset)
	require.EqualValues(t, 1, syncs.Hits.Load()-before)
	require.NoError(t, p.end(true, 5))
	require.Equal(t, []string{"a", "b", "c", "d"}, committedIn(t, b, 0))
}
