package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
)

// TestOriginsOnACluster runs where [TestClientOnACluster] does: topic ids, the progress topic and ownership are not
// the bundled broker's alone.
func TestOriginsOnACluster(t *testing.T) {
	h := newHarness(t, listening(t))
	cfg := h.onKafka(2)
	id := "a" + uuid.NewString()[:8]
	cfg.ApplicationID, cfg.State.FS = id, vfs.NewMem()
	in := stream.NewTopic[string, string](id + ".in")
	rows := state.NewKV[string, int64]("b-rows")
	changelog := id + "-b-rows-changelog"
	client := h.clientOf(cfg)
	admin := h.adminOf(cfg)

	run := func(cfg runtime.Config, store state.KV[string, int64]) (counts map[string]int64, err error) {
		app, err := runtime.New(countInto(t, in.Name(), "", store), cfg)
		require.NoError(t, err)
		err = app.RunDuring(h.ctx, func(ctx context.Context) error {
			if err := app.WaitRunning(ctx); err != nil {
				return err
			}
			if err := client.Put(ctx, in, "k", "v"); err != nil {
				return err
			}
			if err := app.WaitCaughtUp(ctx); err != nil {
				return err
			}
			if err := app.Checkpoint(ctx); err != nil {
				return err
			}
			view, err := app.View(store)
			if err != nil {
				return err
			}
			defer view.Close()
			counts = map[string]int64{}
			for e, err := range store.Read(view.Reader).All() {
				require.NoError(t, err)
				counts[e.Key] = e.Value
			}
			return nil
		})
		return counts, err
	}
	counted := func(want int64) {
		t.Helper()
		counts, err := run(cfg, rows)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"k": want}, counts)
	}
	counted(1)
	counted(2)
	cfg.State.FS = vfs.NewMem()
	counted(3)

	other := cfg // whose store has the other part of the name
	other.ApplicationID, other.State.FS = id+"-b", vfs.NewMem()
	_, err := run(other, state.NewKV[string, int64]("rows"))
	require.ErrorContains(t, err, "belongs to application "+id+",")

	_, err = admin.DeleteGroup(h.ctx, id)
	require.NoError(t, err)
	_, err = run(cfg, rows)
	require.ErrorContains(t, err, "committed offsets of group "+id+" are gone")
	require.NoError(t, client.Reset(h.ctx, id))
	counts, err := run(cfg, rows) // with the directory of before
	require.NoError(t, err)
	require.GreaterOrEqual(t, counts["k"], int64(4))

	_, err = admin.DeleteTopic(h.ctx, changelog)
	require.NoError(t, err)
	_, err = run(cfg, rows)
	require.ErrorContains(t, err, changelog)
	require.ErrorContains(t, err, "was deleted")
	require.NoError(t, client.Reset(h.ctx, id))
	require.NoError(t, client.Reset(h.ctx, id+"-b"))
	require.NoError(t, client.Delete(h.ctx, in))
}

// TestReusedInputsOnACluster runs where [TestClientOnACluster] does: that an input was cut, and whether its records
// expire, is asked for with requests that all brokers answer.
func TestReusedInputsOnACluster(t *testing.T) {
	h := newHarness(t, listening(t))
	cfg := h.onKafka(1)
	cfg.ApplicationID, cfg.State.FS = "r"+uuid.NewString()[:8], vfs.NewMem()
	h.admin = h.adminOf(cfg)
	in := stream.NewTopic[string, string](cfg.ApplicationID + "-in")
	client := h.clientOf(cfg)
	b := stream.NewBuilder().OptimizeWith(stream.ReuseTopics)
	b.Table(in, userRows)
	topo, err := b.Build()
	require.NoError(t, err)
	run := func(cfg runtime.Config, rows int) error {
		app, err := runtime.New(topo, cfg)
		require.NoError(t, err)
		return app.RunDuring(h.ctx, func(ctx context.Context) error {
			if err := app.WaitCaughtUp(ctx); err != nil {
				return err
			}
			if err := app.Checkpoint(ctx); err != nil {
				return err
			}
			require.Len(t, (&running{App: app, h: h}).users(), rows)
			return nil
		})
	}
	require.NoError(t, run(cfg, 0)) // makes the topic
	for i := range 10 {
		require.NoError(t, client.Put(h.ctx, in, fmt.Sprint("u", i), "v"))
	}
	require.NoError(t, run(cfg, 10))
	policy := func(value string) {
		h.alter(in.Name(), "cleanup.policy", value)
		require.Eventually(t, func() bool {
			configs, err := h.admin.DescribeTopicConfigs(h.ctx, in.Name())
			require.NoError(t, err)
			config, err := configs.On(in.Name(), nil)
			require.NoError(t, err)
			return slices.ContainsFunc(config.Configs, func(c kadm.Config) bool {
				return c.Key == "cleanup.policy" && c.MaybeValue() == value
			})
		}, patience, poll)
	}
	policy(expiring)
	require.Eventually(t, func() bool { // a broker of a cluster may learn of the policy later
		h.deleteBefore(in.Name(), map[int32]int64{0: 5})
		starts, err := h.admin.ListStartOffsets(h.ctx, in.Name())
		require.NoError(t, err)
		start, _ := starts.Lookup(in.Name(), 0)
		return start.Offset == 5
	}, patience, poll)
	policy("compact")
	require.ErrorContains(t, run(elsewhere(cfg), 5), "was cut: it begins at 5, and the store was filled from offset 0 on")
	policy(expiring)
	lost := elsewhere(cfg)
	log := loggedTo(&lost)
	require.NoError(t, run(lost, 5))
	require.Contains(t, log.String(), "5 offsets are gone (cleanup.policy=compact,delete)")
	require.NoError(t, client.Reset(h.ctx, cfg.ApplicationID))
	require.NoError(t, client.Delete(h.ctx, in))
}
