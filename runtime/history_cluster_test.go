package runtime_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// TestExpiredRowsLeaveTheChangelogOnACluster runs where [TestClientOnACluster] does. The changelog of a build that left
// its retention to the broker gets the settings that it needs; rows that have expired are deleted from it, those that
// have not come back when the store is lost.
func TestExpiredRowsLeaveTheChangelogOnACluster(t *testing.T) {
	h := newHarness(t, listening(t))
	cfg := h.onKafka(1)
	admin := h.adminOf(cfg)
	for _, guarantee := range []runtime.Guarantee{runtime.AtLeastOnce, runtime.ExactlyOnce} {
		t.Run(fmt.Sprint(guarantee), func(t *testing.T) {
			id := "a" + uuid.NewString()[:8]
			cfg.ApplicationID, cfg.State.FS, cfg.Guarantee = id, vfs.NewMem(), guarantee
			cfg.Topics.PurgeInterval = 20 * time.Millisecond
			in, windows := stream.NewTopic[string, string](id+".in"), state.NewWindowed[string, int64]("windows")
			b := stream.NewBuilder()
			b.Stream(in).GroupByKey().Windowed(stream.Tumbling(time.Hour, 24*time.Hour)).Count(windows)
			topo, err := b.Build()
			require.NoError(t, err)
			changelog, old := id+"-windows-changelog", "90000000"
			_, err = admin.CreateTopic(h.ctx, 1, 1, map[string]*string{
				"cleanup.policy": kadm.StringPtr("compact,delete"), "retention.ms": &old,
			}, changelog)
			require.NoError(t, err)
			client := h.clientOf(cfg)
			then := time.Date(2020, 1, 1, 0, 10, 0, 0, time.UTC)
			start := func() int64 {
				offsets, err := admin.ListStartOffsets(h.ctx, changelog)
				require.NoError(t, err)
				o, ok := offsets.Lookup(changelog, 0)
				require.True(t, ok)
				return o.Offset
			}
			run := func(then func(ctx context.Context, app *runtime.App) error) {
				app, err := runtime.New(topo, cfg)
				require.NoError(t, err)
				require.NoError(t, app.RunDuring(h.ctx, func(ctx context.Context) error { return then(ctx, app) }))
			}
			count := func(ctx context.Context, app *runtime.App, at time.Time, events int) (n int64) {
				for range events {
					require.NoError(t, client.Send(ctx, in, topology.Record[string, string]{
						Key: "k", Value: "v", Timestamp: at.UnixMilli(),
					}))
				}
				require.NoError(t, app.WaitRunning(ctx))
				require.NoError(t, app.WaitCaughtUp(ctx))
				require.NoError(t, app.Checkpoint(ctx))
				view, err := app.View(windows)
				require.NoError(t, err)
				defer view.Close()
				n, _, _, err = windows.Read(view.Reader).Get("k", at.Truncate(time.Hour).UnixMilli())
				require.NoError(t, err)
				return n
			}
			run(func(ctx context.Context, app *runtime.App) error {
				require.EqualValues(t, 2, count(ctx, app, then, 2))
				configs, err := admin.DescribeTopicConfigs(ctx, changelog)
				require.NoError(t, err)
				require.Equal(t, "-1", setting(configs[0].Configs, "retention.ms"))
				require.Zero(t, start())
				return nil
			})
			cfg.State.FS = vfs.NewMem() // the store is lost
			run(func(ctx context.Context, app *runtime.App) error {
				require.EqualValues(t, 3, count(ctx, app, then, 1))
				require.EqualValues(t, 2, count(ctx, app, then.Add(60*time.Hour), 2))
				require.Eventually(t, func() bool { return start() > 0 }, patience, poll)
				return nil
			})
			cfg.State.FS = vfs.NewMem()
			run(func(ctx context.Context, app *runtime.App) error {
				require.EqualValues(t, 3, count(ctx, app, then.Add(60*time.Hour), 1))
				return nil
			})
		})
	}
}
