package broker_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/faultfs"
)

// syncTime is what each sync takes on a bubble's clock, which stands still while anything else happens. So the time
// that passes is the number of syncs in series.
const syncTime = time.Millisecond

// timedSyncs is a file system whose syncs take their time while it is on.
type timedSyncs struct {
	vfs.FS
	on atomic.Bool
}

func newTimedSyncs(fs vfs.FS) *timedSyncs {
	f := &timedSyncs{}
	f.FS = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			f.pass()
		}
		return nil
	}))
	return f
}

func (f *timedSyncs) pass() {
	if f.on.Load() {
		<-time.After(syncTime)
	}
}

// timedWhole is timedSyncs with a call for the whole file system.
type timedWhole struct {
	*timedSyncs
	whole faultfs.Whole
}

func (f timedWhole) SyncAll() error {
	f.pass()
	return f.whole.SyncAll()
}

// However many partitions a transaction writes to, its producer waits for two syncs in series between its last records
// and the answer to EndTxn: that of the records, and that of the decision. Readers wait for a third.
func TestATransactionWaitsForTwoSyncs(t *testing.T) {
	mem := vfs.NewMem()
	timed := newTimedSyncs(mem)
	whole := timedWhole{timed, faultfs.Whole{FS: mem}}
	for _, c := range []struct {
		fs         vfs.FS
		partitions int32
	}{{timed, 1}, {timed, 8}, {whole, 1}, {whole, 50}, {whole, 1000}} {
		t.Run(fmt.Sprintf("%T/%d", c.fs, c.partitions), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				<-time.After(30 * 365 * 24 * time.Hour) // from 2000: records have a later date
				b := brokertest.New(t, brokertest.On(c.fs), brokertest.Configure(func(cfg *broker.Config) {
					cfg.Dir = t.Name()
				}))
				createTopic(t, b, c.partitions, "t")
				p := newRawProducer(t, b, "tx")
				for round := range 3 {
					require.NoError(t, p.commitOffset("g", int64(round)))
					timed.on.Store(true)
					before := time.Now()
					p.sendEach(0, c.partitions, "v")
					require.NoError(t, p.end(true, 5))
					require.Equal(t, 2*syncTime, time.Since(before), "round %d", round)
					require.Len(t, committedIn(t, b, c.partitions-1), round+1)
					require.Equal(t, 3*syncTime, time.Since(before), "round %d, with a read", round)
					<-time.After(10 * syncTime) // until nothing is synced any more: a lock that waits stops the clock
					timed.on.Store(false)
				}
			})
		})
	}
}
