package runtime_test

import (
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/broker/brokertest"
	"thalweg/internal/faultfs"
	"thalweg/runtime"
)

// At least once, a power cut leaves some of what was sent. A changelog never has what its outputs lack.
func TestChangelogsAreWrittenAfterOutputs(t *testing.T) {
	var unsynced atomic.Bool // outputs
	var early, changes atomic.Int64
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		of := path.Base(path.Dir(op.Path))
		switch {
		case path.Ext(op.Path) != ".log":
		case strings.HasPrefix(of, "counts-") && faultfs.Syncs(op.Kind):
			unsynced.Store(false)
		case strings.HasPrefix(of, "counts-") && faultfs.Writes(op.Kind):
			unsynced.Store(true)
		case strings.HasPrefix(of, "wordcount-by-word-changelog-") && faultfs.Grows(op.Kind):
			changes.Add(1)
			if unsynced.Load() {
				early.Add(1)
			}
		}
		return nil
	}))
	h := newHarness(t, brokertest.On(disk))
	cfg := h.config()
	cfg.Guarantee = runtime.AtLeastOnce
	app := h.start(words(t, byWord), cfg).settled()
	for range 5 {
		h.feed(20)
		app.caughtUp()
	}
	app.stop()
	require.NotZero(t, changes.Load())
	require.Zero(t, early.Load(), "writes to changelogs before outputs were synced")
	h.exact()
}
