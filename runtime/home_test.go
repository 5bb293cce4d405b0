package runtime

import (
	goruntime "runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

// heapGoal is the size of the heap at which the collector runs next.
func heapGoal() int64 {
	goruntime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// TestHeadroomPutsTheCollectorOff: garbage may pile up that far beyond twice of what is alive, while the
// application runs.
func TestHeadroomPutsTheCollectorOff(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	const room = 64 << 20
	goals := map[int64]int64{}
	for _, bytes := range []int64{-1, room} {
		cfg := Config{Limits: Limits{HeapBallastBytes: bytes}, State: StateConfig{FS: vfs.NewMem()}}.withDefaults()
		portions, err := newPortions(new(topology.Topology), cfg)
		require.NoError(t, err)
		h, err := openHome(new(topology.Topology), cfg, portions)
		require.NoError(t, err)
		goals[bytes] = heapGoal()
		require.NoError(t, h.close())
		portions.leave()
		goruntime.KeepAlive(h)
	}
	require.InDelta(t, 2*room, goals[room]-goals[-1], room/2)
	require.Less(t, heapGoal(), goals[room]-room, "not when it has ended")
	require.EqualValues(t, DefaultHeapBallastBytes, Config{}.withDefaults().Limits.HeapBallastBytes)
}
