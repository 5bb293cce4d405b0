package runtime_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/assign"
)

// A process that rejoins its group tells how far it is with the tasks that it runs, not where it began.
func TestAProcessReportsHowFarItIs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	cfg := h.config()
	cfg.State.FS, cfg.Endpoint = vfs.NewMem(), "first"
	first := h.start(words(t, byWord), cfg).settled()
	h.feed(200)
	first.caughtUp()
	require.NoError(t, first.Checkpoint(h.ctx))
	ends, err := h.admin.ListEndOffsets(h.ctx, byWordChangelog)
	require.NoError(t, err)
	other := h.config()
	other.State.FS = vfs.NewMem()
	h.start(words(t, byWord), other).settled()
	held := map[assign.TaskID]int64{}
	require.Eventually(t, func() bool {
		groups, err := h.admin.DescribeGroups(h.ctx, "wordcount")
		require.NoError(t, err)
		for _, m := range groups["wordcount"].Members {
			meta, ok := m.Join.AsConsumer()
			if !ok || len(meta.UserData) == 0 { // the group is being balanced
				continue
			}
			r, err := assign.DecodeReport(meta.UserData)
			require.NoError(t, err)
			for _, at := range r.Held {
				if r.Endpoint == "first" {
					held[at.ID] = at.Position
				}
			}
		}
		return len(held) == 4
	}, time.Minute, 10*time.Millisecond)
	for p := range int32(4) {
		end, _ := ends.Lookup(byWordChangelog, p)
		require.InDelta(t, end.Offset, held[assign.TaskID{Subtopology: 1, Partition: p}], 3, "behind it are markers alone")
		require.Greater(t, end.Offset, int64(10))
	}
}
