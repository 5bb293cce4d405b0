package runtime_test

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/brokertest"
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

// TestDamagedInput: the application ends with an error that names the partition and the offset, and the file where it
// can; once the file is restored, nothing is missing.
func TestDamagedInput(t *testing.T) {
	for _, requests := range []bool{false, true} {
		t.Run(fmt.Sprintf("requests=%v", requests), func(t *testing.T) {
			fs := vfs.NewMem()
			h := newHarness(t, brokertest.On(fs))
			h.feed(400)
			h.reopen(fs, func() { brokertest.Flip(t, fs, "broker/lines-2/00000000000000000000.log", 100) })
			cfg := h.config()
			cfg.NoLocal = requests
			err := h.start(words(t, byWord), cfg).fails()
			require.ErrorContains(t, err, "fetch lines-2 at offset 0: ")
			require.ErrorIs(t, err, kerr.CorruptMessage)
			if !requests {
				require.ErrorContains(t, err, "lines-2/00000000000000000000.log is damaged at byte 0")
				require.ErrorContains(t, err, "restore the file")
			}
			h.reopen(fs, func() { brokertest.Flip(t, fs, "broker/lines-2/00000000000000000000.log", 100) })
			cfg.Broker = h.broker
			h.start(words(t, byWord), cfg).caughtUp().stop()
			h.exact()
		})
	}
}
