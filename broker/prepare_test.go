package broker_test

import (
	"context"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// notice is a log handler that reports messages that contain a text.
type notice struct {
	slog.Handler
	text string
	seen chan struct{}
}

func (n notice) Enabled(context.Context, slog.Level) bool { return true }

func (n notice) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, n.text) {
		select {
		case n.seen <- struct{}{}:
		default:
		}
	}
	return nil
}

// Once the decision is durable the transaction ends that way: the power is cut between the decision and its markers,
// and the next start writes them.
func TestEndTxnIsCrashAtomic(t *testing.T) {
	rnd := randomSource(t)
	for _, commit := range []bool{true, false} {
		disk := vfs.NewCrashableMem()
		full := failing("t-1", syscall.ENOSPC, errorfs.OpFileWrite, errorfs.OpFileWriteAt)
		fs := faultfs.New(disk)
		stuck := notice{slog.DiscardHandler, "finish transaction", make(chan struct{}, 1)}
		b, err := broker.Open(broker.Config{
			FS: fs, Clock: brokertest.NewClock(), Logger: slog.New(stuck),
		})
		require.NoError(t, err)
		createTopic(t, b, 2, "t")
		p := newRawProducer(t, b, "tx")
		require.NoError(t, p.produce(0, "a"))
		require.NoError(t, p.produce(1, "b"))
		require.NoError(t, p.commitOffset("g", 42))
		fs.Fail(full) // the second partition takes no marker
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			req := kmsg.NewPtrEndTxnRequest()
			req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "tx", p.pid, p.epoch, commit
			if _, err := req.RequestWith(ctx, p.client); err == nil {
				t.Error("the transaction ended without its markers")
			}
		}()
		<-stuck.seen
		next, _ := cutPower(t, disk, rnd)
		cancel()
		<-ended
		var want []string
		if commit {
			want = []string{"a"}
		}
		require.Eventually(t, func() bool { // the first may have a second marker
			return fetchOne(t, next, 0, direct.ReadCommitted).LastStableOffset >= 2 &&
				fetchOne(t, next, 1, direct.ReadCommitted).LastStableOffset == 2
		}, patience, time.Millisecond)
		require.Equal(t, want, committedIn(t, next, 0))
		p.b, p.client = next, brokertest.Client(t, next)
		require.NoError(t, p.init(), "the producer goes on")
		require.NoError(t, p.produce(1, "c"))
		require.NoError(t, p.end(true, 5))
		_ = b.Close()
	}
}
