package runtime_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

// tail is a log that can be searched.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *tail) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// onDisk are the partitions of a store on a disk on which nothing runs.
func onDisk(t *testing.T, cfg runtime.Config, store string) (partitions []int32) {
	t.Helper()
	l, err := runtime.OpenLocalState(cfg.State.FS.PathJoin(cfg.State.Dir, cfg.ApplicationID), cfg.State.FS)
	require.NoError(t, err)
	for _, s := range local(t, l, func(s runtime.LocalStore) bool { return s.Store == store && s.Rows > 0 }) {
		partitions = append(partitions, s.Partition)
	}
	require.NoError(t, l.Close())
	return partitions
}

// ofWords are the partitions of the tasks that count words, and that a process has.
func ofWords(h *harness, app *running, endpoint string) (partitions []int32) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		all, err := app.Processes(h.ctx)
		require.NoError(h.t, err)
		tasks := 0
		partitions = nil
		for _, p := range all {
			tasks += len(p.Active)
			for _, id := range p.Active {
				if p.Endpoint == endpoint && id.Subtopology == 1 {
					partitions = append(partitions, id.Partition)
				}
			}
		}
		return len(all) == 2 && tasks == 8
	}, time.Minute, time.Millisecond)
	return partitions
}

// Rows of tasks that another process has go after a while, and nothing else. Where tasks come back, they are restored.
func TestRowsOfTasksThatMovedAwayAreDropped(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	log := new(tail)
	one := h.config()
	one.State.FS, one.State.Dir, one.State.Retention, one.Endpoint = vfs.NewMem(), "one", 20*time.Millisecond, "one"
	one.Logger = slog.New(slog.NewTextHandler(log, nil))
	start := func() *running { return h.start(words(t, byWord), one) }
	first := start()
	h.feed(200)
	h.await()
	first.stop()
	require.Equal(t, []int32{0, 1, 2, 3}, onDisk(t, one, "by-word"))
	require.NotContains(t, log.text(), "dropped the rows", "nothing has moved")

	first = start().settled()
	other := h.config()
	other.State.FS, other.State.Dir = vfs.NewMem(), "other"
	second := h.start(words(t, byWord), other).settled()
	gone := ofWords(h, first, "")
	require.NotEmpty(t, gone)
	for _, p := range gone {
		require.Eventually(t, func() bool { // tasks that were never here have no rows to drop
			for line := range strings.Lines(log.text()) {
				if strings.Contains(line, "dropped the rows") && strings.Contains(line, fmt.Sprintf("1_%d", p)) {
					return true
				}
			}
			return false
		}, time.Minute, time.Millisecond)
	}
	here := ofWords(h, first, "one")
	first.stop()
	require.Equal(t, here, onDisk(t, one, "by-word"), "what it had at the end")

	second.stop()
	first = start()
	h.feed(200)
	h.await()
	first.stop()
	require.Equal(t, []int32{0, 1, 2, 3}, onDisk(t, one, "by-word"))
	h.exact()
}

// Rows are dropped while tasks come back and go, and counts are exact.
func TestRowsAreDroppedWhileTasksMove(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var configs [3]runtime.Config
	for i := range configs {
		configs[i] = h.config()
		configs[i].State.FS, configs[i].State.Retention, configs[i].Workers = vfs.NewMem(), time.Millisecond, 1+i
	}
	h.joinAndLeave(configs[:], 12)
	h.exact()
}
