package runtime_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

// TestRebalance lets processes with several workers join and leave in the middle of a run. What they have on disk
// goes stale and is used again. Counts stay exact.
func TestRebalance(t *testing.T) {
	h := newHarness(t)
	var configs [3]runtime.Config // one per process
	for i := range configs {
		configs[i] = h.config()
		configs[i].StateFS = vfs.NewMem()
		configs[i].Workers = 1 + i
		configs[i].NoLocal = i == 1
	}
	var apps [3]*running
	alive := 0
	for round := range 12 {
		i := h.random.IntN(len(apps))
		switch {
		case apps[i] == nil:
			t.Logf("round %d: process %d joins", round, i)
			apps[i] = h.start(words(t, byWord), configs[i])
			alive++
		case alive > 1:
			t.Logf("round %d: process %d leaves", round, i)
			apps[i].stop()
			apps[i] = nil
			alive--
		}
		h.feed(100 + h.random.IntN(200))
		if h.random.IntN(2) == 0 {
			h.await()
		}
	}
	h.await()
	for _, app := range apps {
		if app != nil {
			app.stop()
		}
	}
	h.exact()
}

// TestTakeover runs a second process beside the first: it gets its share of the tasks, with their state, and all of
// them when the first one leaves.
func TestTakeover(t *testing.T) {
	h := newHarness(t)
	first := h.start(words(t, byWord), h.config()).settled()
	h.feed(300)
	h.await()
	other := h.config()
	other.StateFS = vfs.NewMem()
	second := h.start(words(t, byWord), other)
	require.Eventually(t, func() bool { return tasks(first) == 4 && tasks(second) == 4 }, patience, poll)
	h.feed(300)
	h.await()
	first.stop()
	h.feed(300)
	h.await()
	require.Eventually(t, func() bool { return tasks(second) == 8 }, patience, poll)
	second.stop()
	h.exact()
}

// tasks counts those that a process runs.
func tasks(r *running) (n int) {
	for _, w := range r.Stats().Workers {
		for _, task := range w.Tasks {
			if task.State == "running" {
				n++
			}
		}
	}
	return n
}
