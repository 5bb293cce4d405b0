package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
)

// TestSetWorkersOnACluster runs where [TestClientOnACluster] does: that many producers commit under one member, and
// that tasks move between them, is not the bundled broker's alone. A second process joins and leaves meanwhile.
func TestSetWorkersOnACluster(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t, listening(t))
			cfg := h.onKafka(6)
			id := "a" + uuid.NewString()[:8]
			cfg.ApplicationID, cfg.State.FS, cfg.Guarantee = id, vfs.NewMem(), guarantee
			in := stream.NewTopic[string, string](id + ".in")
			rows := state.NewKV[string, int64]("rows")
			client := h.clientOf(cfg)
			require.NoError(t, client.Create(h.ctx, 6, in))
			topo := countInto(t, in.Name(), "", rows)
			app := h.start(topo, cfg).settled()
			want := map[string]int64{}
			put := func(n int) {
				for range n {
					key := fmt.Sprint("k", h.random.IntN(30))
					require.NoError(t, client.Put(h.ctx, in, key, "v"))
					want[key]++
				}
			}
			var second *running
			for round, n := range []int{3, 2, 6, 1, 4} {
				put(50)
				require.NoError(t, app.SetWorkers(n))
				put(50)
				switch round {
				case 1:
					other := cfg
					other.State.FS, other.Workers = vfs.NewMem(), 2
					second = h.start(topo, other).settled()
				case 3:
					second.caughtUp().stop()
				}
				app.caughtUp()
			}
			require.Eventually(t, func() bool {
				counts := spread(app.Stats())
				return len(counts) == 4 && slices.Max(counts) == 2 && slices.Min(counts) == 1
			}, patience, poll)
			require.NoError(t, app.Checkpoint(context.WithoutCancel(h.ctx)))
			view, err := app.View(rows)
			require.NoError(t, err)
			defer view.Close()
			got := map[string]int64{}
			for e, err := range rows.Read(view.Reader).All() {
				require.NoError(t, err)
				got[e.Key] = e.Value
			}
			require.Equal(t, want, got)
			app.stop()
		})
	}
}
