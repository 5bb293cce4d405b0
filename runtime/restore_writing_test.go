package runtime_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
)

// waitingFS is a disk that takes what is restored when it is let.
type waitingFS struct {
	vfs.FS
	open <-chan struct{}
}

func (w *waitingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.Contains(name, "/ingest/") {
		<-w.open
	}
	return w.FS.Create(name, category)
}

// A restore reports how far it is while all is read and the disk has not taken it yet.
func TestARestoreReportsWhileTheDiskIsSlow(t *testing.T) {
	h := newHarness(t)
	client := brokertest.Client(t, h.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	const rows = 1500
	for i := range rows { // more than a MiB: less does not become a table of its own
		key := fmt.Appendf(nil, "%01000d", i)
		client.Produce(h.ctx, &kgo.Record{Topic: "lines", Key: key, Value: []byte("v")}, nil)
	}
	require.NoError(t, client.Flush(h.ctx))
	cfg := h.config()
	h.start(countInto(t, "lines", "", byWord), cfg).caughtUp().stop()

	open := make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	defer release() // before the application is closed
	cfg.State.FS = &waitingFS{vfs.NewMem(), open}
	cfg.Hooks.RestoreProgress = func(r runtime.Restore) {
		if r.Position == r.End {
			release()
		}
	}
	ended := make(chan runtime.Restore, 10)
	cfg.Hooks.RestoreEnded = func(r runtime.Restore) { ended <- r }
	app := h.start(countInto(t, "lines", "", byWord), cfg).settled()
	require.EqualValues(t, rows, (<-ended).Records)
	require.Len(t, app.rows(), rows)
	app.stop()
}
