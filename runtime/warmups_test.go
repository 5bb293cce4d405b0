package runtime_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/topology"
)

// counted builds lines → counts, with a stateful task for each partition and no others.
func counted(t testing.TB) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	b.Source("lines", lineTopic).
		Process("count", func() *counter { return &counter{name: byWord} }, byWord).
		Sink("counts", topology.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// feedKeys adds records for counted.
func (h *harness) feedKeys(n int, key func(i int) string) {
	h.t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		word := key(i)
		h.want[word]++
		records[i] = &kgo.Record{Topic: "lines", Key: []byte(word)}
	}
	h.produce(records...)
}

// A process joins an application that never rests. Its share of the tasks moves there, each when the copy of its state
// is near, and nothing else of the state is read then. Until then they work where they were.
func TestTasksMoveWhenTheirCopiesAreNear(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			const rows = 8000
			config := func(name string) runtime.Config {
				cfg := h.copying(name)
				cfg.Standbys.Count, cfg.Standbys.AcceptableLag = 0, 200
				cfg.Standbys.ProbeInterval, cfg.Guarantee = 5*time.Second, guarantee
				return cfg
			}
			log := new(tail) // of the process that joins
			says := func(what string, task runtime.TaskID) bool {
				for line := range strings.Lines(log.text()) {
					if strings.Contains(line, what) && strings.Contains(line, "task="+task.String()+" ") {
						return true
					}
				}
				return false
			}
			var early sync.Map
			cfg := config("one")
			cfg.Hooks.TaskChanged = func(e runtime.TaskEvent) {
				if e.State != "running" && e.State != "restoring" && !says("following a task of another process", e.Task) {
					early.Store(e.Task, e.State)
				}
			}
			one := h.start(counted(t), cfg).settled()
			h.feedKeys(rows, func(i int) string { return fmt.Sprint("row", i) })
			h.await()
			one.caughtUp()

			var read sync.Map
			cfg = config("two")
			cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
			cfg.Hooks.RestoreEnded = func(r runtime.Restore) { read.Store(r.Task, r.Records) }
			two := h.start(counted(t), cfg)
			for tasks(one) != 2 || tasks(two) != 2 {
				h.feedKeys(10, func(int) string { return fmt.Sprint("w", h.random.IntN(60)) })
				require.NoError(t, h.ctx.Err(), log.text())
			}
			h.feedKeys(100, func(int) string { return fmt.Sprint("w", h.random.IntN(60)) })
			h.await()
			early.Range(func(id, state any) bool {
				t.Errorf("task %v was %v on its process before the other one had a copy", id, state)
				return true
			})
			read.Range(func(id, records any) bool {
				require.Less(t, records.(int64), int64(rows/8), "task %v has about %d rows", id, rows/4)
				return true
			})
			require.Eventually(t, func() bool { return len(two.Stats().Standbys) == 0 }, patience, poll)
			one.stop()
			two.stop()
			h.atLeast()
			if guarantee == runtime.ExactlyOnce {
				h.exact()
			}
		})
	}
}
