package runtime_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

// copying is a process that keeps copies.
func (h *harness) copying(name string) runtime.Config {
	cfg := h.config()
	cfg.State.FS, cfg.Endpoint, cfg.Standbys.Count = vfs.NewMem(), name, 1
	return cfg
}

// followsAll tells whether an application has copies of so many tasks, and these lack nothing.
func followsAll(app *running, n int) bool {
	standbys := app.Stats().Standbys
	for _, s := range standbys {
		if s.Lag != 0 {
			return false
		}
	}
	return len(standbys) == n
}

// rows are those that a process has of the words, by partition: of its tasks, and of its copies, whose lag comes with
// them.
func rows(h *harness, app *running) (all map[string]int64, lag int64) {
	h.t.Helper()
	view, err := app.View(byWord, runtime.AcceptStandby())
	for errors.Is(err, runtime.ErrRestoring) && h.ctx.Err() == nil {
		view, err = app.View(byWord, runtime.AcceptStandby())
	}
	if errors.Is(err, runtime.ErrNotHere) {
		return nil, 0 // no copy yet
	}
	require.NoError(h.t, err)
	defer func() { require.NoError(h.t, view.Close()) }()
	all = map[string]int64{}
	for row, err := range byWord.Read(view.Here()).All() {
		require.NoError(h.t, err)
		all[row.Key] = row.Value
	}
	for _, s := range view.Standbys {
		lag += s.Lag
	}
	return all, lag
}

// The state of a process that falls silent is on another process's disk already: its tasks run there when its session
// ends, and nearly nothing is restored. When it comes back, it finds what it had, and each process has copies again.
func TestAStandbyTakesOver(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			silence := new(gate)
			var apps [2]*running
			var restored [2]atomic.Int64
			for i := range apps {
				cfg := h.copying(fmt.Sprint("process ", i))
				cfg.Guarantee, cfg.SessionTimeout = guarantee, 6*time.Second
				cfg.TransactionTimeout = 2 * time.Second
				cfg.Hooks.RestoreEnded = func(r runtime.Restore) { restored[i].Add(r.Records) }
				if i == 1 {
					cfg.NoLocal, cfg.ClientOptions = true, h.over(silence.wrap)
				}
				apps[i] = h.start(words(t, byWord), cfg).settled()
			}
			require.Eventually(t, func() bool { return tasks(apps[0]) == 4 && tasks(apps[1]) == 4 }, patience, poll)
			for range 10 {
				h.feed(100)
			}
			h.await()
			for i, app := range apps {
				require.Eventually(t, func() bool { return followsAll(app, 2) }, patience, poll)
				require.Zero(t, restored[i].Swap(0), "there was nothing to restore")
			}
			require.Eventually(t, func() bool {
				all, lag := rows(h, apps[0])
				return lag == 0 && maps.Equal(h.want, all)
			}, patience, poll)
			_, err := apps[0].View(byWord)
			require.NoError(t, err)

			silence.Lock()
			cut := time.Now()
			h.feed(10)
			h.await()
			t.Logf("all tasks worked %v after the process fell silent; its session ends after 6s", time.Since(cut))
			require.Eventually(t, func() bool { return tasks(apps[0]) == 8 }, patience, poll)
			require.Less(t, restored[0].Load(), int64(500), "of thousands")
			silence.Unlock()
			for i, app := range apps {
				require.Eventually(t, func() bool { return tasks(app) == 4 && followsAll(app, 2) }, patience, poll, i)
			}
			h.feed(100)
			h.await()
			for _, app := range apps {
				require.Eventually(t, func() bool {
					all, lag := rows(h, app)
					return lag == 0 && maps.Equal(h.want, all)
				}, patience, poll)
				app.stop()
			}
			h.atLeast()
			if guarantee == runtime.ExactlyOnce {
				h.exact()
			}
		})
	}
}

// Processes come and go at random, as they like or killed, and have copies of each other's tasks: each row that any of
// them has is the last one, or one before it, and in the end all have all rows.
func TestStandbysOfProcessesThatComeAndGo(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var configs [3]runtime.Config
	for i := range configs {
		cfg := h.copying(fmt.Sprint("process ", i))
		cfg.Standbys.Count, cfg.Workers = 1+h.random.IntN(2), 1+i
		cfg.Standbys.AcceptableLag, cfg.Standbys.WarmupsMax = int64(1+h.random.IntN(100)), 1+h.random.IntN(8)
		cfg.State.CheckpointInterval = time.Duration(1+h.random.IntN(200)) * time.Millisecond
		cfg.State.Retention = time.Millisecond // rows that nobody wants go at once
		cfg.NoLocal = i == 1
		if h.random.IntN(2) == 0 {
			cfg.Standbys.ProbeInterval = time.Second
		}
		configs[i] = cfg
	}
	h.joinAndLeave(configs[:], 10)
	h.exact()

	var apps []*running
	for _, cfg := range configs {
		cfg.Standbys.Count = 2
		apps = append(apps, h.start(words(t, byWord), cfg).settled())
	}
	for range 4 {
		h.feed(50)
		for _, app := range apps {
			all, _ := rows(h, app)
			for word, n := range all {
				require.LessOrEqual(t, n, h.want[word])
			}
		}
	}
	h.await()
	for _, app := range apps {
		require.Eventually(t, func() bool {
			all, lag := rows(h, app)
			return lag == 0 && maps.Equal(h.want, all)
		}, patience, poll)
	}
	for _, app := range apps {
		app.stop()
	}
	h.exact()
}

// A copy survives the kill of its process as far as it was written, and goes on from there.
func TestAStandbyGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	one := h.start(words(t, byWord), h.copying("one")).settled()
	h.feed(500)
	h.await()
	cfg := h.copying("two")
	disk := vfs.NewCrashableMem()
	cfg.State.FS, cfg.SessionTimeout = disk, 6*time.Second
	silence := new(gate)
	cfg.NoLocal, cfg.ClientOptions = true, h.over(silence.wrap)
	cfg.Standbys.WarmupsMax, cfg.Standbys.AcceptableLag = -1, 1
	two := h.start(words(t, byWord), cfg).settled()
	require.Eventually(t, func() bool { return followsAll(one, 2) && followsAll(two, 2) }, patience, poll)
	require.NoError(t, two.Checkpoint(h.ctx))
	silence.Lock()
	defer silence.Unlock()
	cfg.State.FS = disk.CrashClone(vfs.CrashCloneCfg{})
	cfg.NoLocal, cfg.ClientOptions = false, runtime.ClientOptions{}
	log := new(tail)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	h.feed(100)
	again := h.start(words(t, byWord), cfg).settled()
	h.await()
	require.Eventually(t, func() bool {
		all, lag := rows(h, again)
		return lag == 0 && maps.Equal(h.want, all)
	}, patience, poll)
	require.NotContains(t, log.text(), "copying all of it")
	again.stop()
	one.stop()
	h.exact()
}
