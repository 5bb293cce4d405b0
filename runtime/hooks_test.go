package runtime_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

// A slow hook misses no state and no task.
func TestASlowHookIsToldEverything(t *testing.T) {
	h := newHarness(t)
	h.create(600, "ins")
	h.create(1, "copies")
	cfg := h.config()
	release := make(chan struct{})
	var mu sync.Mutex
	told := map[string]int{}
	var once sync.Once
	cfg.Hooks.StateChanged = func(_, to runtime.State) {
		once.Do(func() { <-release })
		mu.Lock()
		defer mu.Unlock()
		told[to.String()]++
	}
	cfg.Hooks.TaskChanged = func(e runtime.TaskEvent) {
		mu.Lock()
		defer mu.Unlock()
		told["task "+e.State]++
	}
	app := h.start(copying(t, ins), cfg).settled()
	require.NoError(t, app.Checkpoint(h.ctx))
	time.AfterFunc(10*poll, func() { close(release) })
	app.stop()
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[string]int{
		"rebalancing": 1, "running": 1, "closing": 1, "closed": 1, "task running": 600, "task closed": 600,
	}, told)
}
