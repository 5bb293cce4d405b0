package pebble

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// A step of Close that takes long is named once, and a quick one is not.
func TestCloseSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		e := &Engine{dir: "state", dead: make(chan struct{})}
		e.space = newSpaceFS(vfs.NewMem(), e, slog.New(slog.NewTextHandler(log, nil)))
		e.compacting.Store(12345)
		wait := func(d time.Duration) func() error {
			return func() error {
				time.Sleep(d)
				return nil
			}
		}
		require.NoError(t, e.waitFor(e.closeWaitsFor, wait(closeSilence/2)))
		require.Empty(t, log.lines()[0])
		require.NoError(t, e.waitFor(e.closeWaitsFor, wait(5*closeSilence)))
		require.Len(t, log.lines(), 1)
		require.Contains(t, log.lines()[0], "a compaction of 12345 bytes")
		require.Contains(t, log.lines()[0], "directory=state")
	})
}

// A compaction counts while it runs.
func TestRunningCompactionsAreCounted(t *testing.T) {
	var opened atomic.Pointer[Engine]
	var during atomic.Int64
	e, err := openWith("state", Options{FS: vfs.NewMem()}, func(o *pebble.Options) {
		begin := o.EventListener.CompactionBegin
		o.EventListener.CompactionBegin = func(info pebble.CompactionInfo) {
			begin(info)
			if e := opened.Load(); e != nil {
				during.Store(e.compacting.Load())
			}
		}
	})
	require.NoError(t, err)
	opened.Store(e)
	for range 3 {
		require.NoError(t, putRows(e, 0, 1000))
		require.NoError(t, e.Flush())
	}
	require.NoError(t, e.db.Compact(t.Context(), []byte("key"), []byte("key999999"), false))
	require.Positive(t, during.Load())
	require.NoError(t, e.Close())
	require.Zero(t, e.compacting.Load())
}
