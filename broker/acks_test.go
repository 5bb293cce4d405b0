package broker_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
)

// slowSync makes each sync of a file take longer than a request does.
func slowSync(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		for n := 0; op.Kind == errorfs.OpFileSyncData && n < 10_000; n++ {
			runtime.Gosched()
		}
		return nil
	}))
}

// What a producer with acks=1 was told is written is there for everybody at once, and after a power cut.
func TestTheEndOfTheLogNeverLagsBehindAcknowledgedWrites(t *testing.T) {
	const records = 50
	mem := vfs.NewCrashableMem()
	b := brokertest.New(t, brokertest.On(slowSync(mem)))
	createTopic(t, b, 1, "t")
	client := brokertest.Client(t, b, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(),
		kgo.ProducerLinger(0))
	adm := kadm.NewClient(client)
	for n := range int64(records) {
		r := &kgo.Record{Topic: "t", Value: fmt.Appendf(nil, "%d", n)}
		require.NoError(t, client.ProduceSync(within(t), r).FirstErr())
		require.Equal(t, n, r.Offset)
		for _, list := range []func() (kadm.ListedOffsets, error){
			func() (kadm.ListedOffsets, error) { return adm.ListEndOffsets(within(t), "t") },
			func() (kadm.ListedOffsets, error) { return adm.ListCommittedOffsets(within(t), "t") },
		} {
			ends, err := list()
			require.NoError(t, err)
			end, _ := ends.Lookup("t", 0)
			require.Equal(t, n+1, end.Offset, "after the record at offset %d was acknowledged", n)
		}
		results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{
			Isolation: direct.ReadCommitted, Partitions: []direct.FetchPartition{{Topic: "t", Offset: n}},
		})
		require.NoError(t, err)
		require.Equal(t, n+1, results[0].HighWatermark)
		require.NotEmpty(t, results[0].Batches)
	}
	after := brokertest.New(t, brokertest.On(mem.CrashClone(vfs.CrashCloneCfg{})))
	_, end := span(t, after, "t")
	require.Equal(t, int64(records), end, "acknowledged records survive a power cut")
	all := kadm.Offsets{}
	all.AddOffset("t", 0, -1, -1)
	require.NoError(t, client.ProduceSync(within(t), &kgo.Record{Topic: "t", Value: []byte("last")}).FirstErr())
	deleted, err := adm.DeleteRecords(within(t), all)
	require.NoError(t, err)
	low, _ := deleted.Lookup("t", 0)
	require.Equal(t, int64(records+1), low.LowWatermark)
}
