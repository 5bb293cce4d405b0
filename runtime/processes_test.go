package runtime_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/progress"
	"thalweg/runtime"
)

// Every process knows which process has which tasks, and where it answers.
func TestProcesses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	start := func(endpoint string) *running {
		cfg := h.config()
		cfg.State.FS, cfg.Endpoint, cfg.Workers = vfs.NewMem(), endpoint, 2
		return h.start(words(t, byWord), cfg).settled()
	}
	// tasks waits until the tasks of all processes are told, and returns how many each endpoint has.
	tasks := func(app *running, processes int) (counts map[string]int) {
		t.Helper()
		require.Eventually(t, func() bool {
			all, err := app.Processes(h.ctx)
			require.NoError(t, err)
			var ids []runtime.TaskID
			copies := 0 // of tasks that are on their way
			counts = map[string]int{}
			for _, p := range all {
				require.NotEmpty(t, p.Name)
				copies += len(p.Standby)
				ids = append(ids, p.Active...)
				counts[p.Endpoint] = len(p.Active)
			}
			some := map[runtime.TaskID]bool{}
			for _, id := range ids {
				some[id] = true
			}
			return copies == 0 && len(all) == processes && len(ids) == 8 && len(some) == 8
		}, time.Minute, time.Millisecond)
		return counts
	}
	one := start("one:1")
	require.Equal(t, map[string]int{"one:1": 8}, tasks(one, 1))
	two := start("two:2")
	for _, app := range []*running{one, two} {
		require.Equal(t, map[string]int{"one:1": 4, "two:2": 4}, tasks(app, 2))
	}
	two.stop()
	require.Equal(t, map[string]int{"one:1": 8}, tasks(one, 1))
	one.stop()
	_, err := one.Processes(h.ctx)
	require.ErrorIs(t, err, runtime.ErrNotHere)
}

// Records of kinds that a build does not know are no reason not to start, and count for nothing.
func TestProgressRecordsOfLaterBuilds(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	cfg := h.config()
	h.start(words(t, byWord), cfg).settled().stop()
	h.produce(&kgo.Record{
		Topic: progress.TopicName("wordcount"), Key: progress.AppendKey(nil, progress.Key{Kind: 99, Partition: -1}),
		Value: append(progress.AppendValue(nil, progress.Value{}), 99, 2, 'x', 'y'),
	})
	app := h.start(words(t, byWord), cfg).settled()
	h.feed(10)
	app.caughtUp()
	app.stop()
}
