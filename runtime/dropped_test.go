package runtime_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/runtime"
	"thalweg/topology"
)

// Records without a time are dropped, and the offset goes on, though nothing is processed.
func TestOffsetsMoveOverRecordsThatAreAllDropped(t *testing.T) {
	in := ins.Timestamps(func(r topology.Record[string, string], _ int64) int64 {
		if strings.HasPrefix(r.Value, "1") {
			return -1
		}
		return r.Timestamp
	})
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		h := newHarness(t)
		h.create(1, "ins")
		h.create(1, "copies")
		cfg := h.config()
		cfg.Guarantee = guarantee
		h.sent("ins", 0, 1000, 1000)
		app := h.start(copying(t, in), cfg).caughtUp()
		require.EqualValues(t, 1000, h.offset("ins", 0))
		h.sent("ins", 0, 1000, 5)
		app.stop()
		require.Empty(t, h.read("copies"))
		app = h.start(copying(t, in), cfg).caughtUp()
		app.stop()
		dropped := int64(0)
		for _, n := range app.Stats().Nodes {
			dropped += n.Dropped["bad-time"]
		}
		require.LessOrEqual(t, dropped, int64(5), "what was dropped before is not read again")
	}
}
