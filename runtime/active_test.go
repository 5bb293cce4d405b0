package runtime_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Tasks without input are called when a time of the wall clock has come, also after the clock was set back.
func TestTasksWithoutInputAreCalledByTheClock(t *testing.T) {
	h := newHarness(t)
	const tasks = 8
	h.create(tasks, "ins")
	h.create(1, "ticks")
	var fired, ahead atomic.Int64
	cfg := h.config()
	cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	app := h.start(ticking(t, "a", &fired), cfg).settled()
	more := func() {
		t.Helper()
		until := fired.Load() + 5*tasks
		require.Eventually(t, func() bool { return fired.Load() >= until }, patience, poll)
	}
	more()
	ahead.Store(int64(-time.Hour))
	more()
	require.Eventually(t, func() bool {
		all := 0
		for _, w := range app.Stats().Workers {
			all += len(w.Tasks)
		}
		return all == tasks
	}, patience, poll)
}
