package runtime_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

func TestWordCount(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		for _, workers := range []int{1, 4} {
			for _, remote := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d workers/remote %t", guarantee, workers, remote), func(t *testing.T) {
					h := newHarness(t)
					h.feed(500)
					cfg := h.config()
					cfg.Guarantee, cfg.Workers, cfg.NoLocal = guarantee, workers, remote
					app := h.start(words(t, byWord), cfg).settled()
					h.feed(500)
					h.await()
					app.stop()
					h.exact() // nothing failed, so at-least-once is exact, too
					require.Equal(t, runtime.Closed, app.State())
				})
			}
		}
	}
}

// TestRestart goes on where the last run stopped, with the local state and without.
func TestRestart(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprintf("state kept %t", kept), func(t *testing.T) {
			h := newHarness(t)
			cfg := h.config()
			for range 3 {
				var restored atomic.Int64
				cfg.Hooks.RestoreEnded = func(r runtime.Restore) { restored.Add(r.Records) }
				app := h.start(words(t, byWord), cfg).settled()
				first := h.total == 0
				h.feed(300)
				h.await()
				app.stop()
				if first || kept {
					require.Zero(t, restored.Load())
				} else {
					require.Positive(t, restored.Load())
				}
				if !kept {
					cfg.State.FS = vfs.NewMem()
				}
			}
			h.exact()
		})
	}
}

func TestInMemoryStoreIsRestored(t *testing.T) {
	h := newHarness(t)
	for range 2 {
		app := h.start(words(t, byWord.InMemory()), h.config()).settled()
		h.feed(200)
		h.await()
		app.stop()
	}
	h.exact()
}
