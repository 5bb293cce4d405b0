package runtime_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// TestFullDisk: the application ends with an error that names the state; nothing that was committed is lost, since the
// changelog has it.
func TestFullDisk(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	var full atomic.Bool
	cfg.StateFS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	cfg.CloseTimeout = 500 * time.Millisecond
	app := h.start(words(t, byWord), cfg)
	h.feed(100)
	app.caughtUp()
	full.Store(true)
	h.feed(100)
	app.caughtUp() // outputs and changelogs are the broker's
	require.ErrorContains(t, app.Close(h.ctx), "is it full?")
	require.ErrorContains(t, app.fails(), "state/wordcount")
	full.Store(false)
	cfg.StateFS = vfs.NewMem()
	app = h.start(words(t, byWord), cfg)
	h.feed(100)
	app.caughtUp().stop()
	h.exact()
}
