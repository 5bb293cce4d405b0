package runtime_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/topology"
)

// What was restored is seen as soon as the application runs, without any new input; until then the answer is not "not
// found".
func TestViewAfterARestoreWithoutInput(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.feed(100)
	h.start(words(t, byWord), cfg).caughtUp().stop()

	cfg.State.FS = vfs.NewMem()
	cfg.State.CheckpointInterval = time.Hour // it is not the checkpoints that make it visible
	restoring := make(chan runtime.TaskEvent, 100)
	cfg.Hooks.TaskChanged = func(e runtime.TaskEvent) {
		if e.State == "restoring" {
			restoring <- e
		}
	}
	app, err := runtime.New(words(t, byWord), cfg)
	require.NoError(t, err)
	_, err = app.View(byWord)
	require.ErrorIs(t, err, runtime.ErrNotHere)
	app.Pause() // restores, too
	ended := make(chan error, 1)
	go func() { ended <- app.Run(h.ctx) }()
	<-restoring
	_, err = app.View(byWord)
	require.ErrorIs(t, err, runtime.ErrRestoring)
	require.ErrorContains(t, err, `store "by-word"`)
	app.Resume()
	require.NoError(t, app.WaitRunning(h.ctx))
	view, err := app.View(byWord)
	require.NoError(t, err)
	rows := byWord.Read(view.Reader)
	for word, n := range h.want {
		got, _, ok, err := rows.Get(word)
		require.NoError(t, err)
		require.True(t, ok, word)
		require.Equal(t, n, got)
	}
	_, _, ok, err := rows.Get("never fed")
	require.NoError(t, err)
	require.False(t, ok, "all partitions are here")
	require.NoError(t, view.Close())
	require.NoError(t, app.Close(h.ctx))
	require.NoError(t, <-ended)
	_, err = app.View(byWord)
	require.ErrorIs(t, err, runtime.ErrNotHere)
	require.ErrorContains(t, err, "closed")
}

// The first worker to join the group gets everything, and gives half of it to the second: the process has it all the
// time, and all of it when it says that it runs.
func TestViewWhileTasksMoveBetweenWorkers(t *testing.T) {
	h := newHarness(t)
	h.create(2, "words")
	topic := topology.NewTopic[string, string]("words")
	b := topology.NewBuilder()
	b.Source("words", topic).Process("count", func() *counter { return &counter{name: byWord} }, byWord)
	topo, err := b.Build()
	require.NoError(t, err)
	cfg := h.config()
	cfg.Workers = 2
	app := h.start(topo, cfg)
	running := make(chan error, 1)
	go func() { running <- app.WaitRunning(h.ctx) }()
	for waiting := true; waiting; {
		select {
		case err := <-running:
			require.NoError(t, err)
			waiting = false
		case <-time.After(poll):
		}
		created := app.State() == runtime.Created
		view, err := app.View(byWord)
		if err == nil {
			for _, lacks := range byWord.Read(view.Reader).All() {
				err = lacks
			}
			require.NoError(t, view.Close())
		}
		if !created && err != nil {
			require.ErrorIs(t, err, runtime.ErrRestoring)
			require.True(t, waiting, "%v", err)
		}
	}
	app.stop()
}

// With two processes none answers for the partitions of the other.
func TestViewOfOneOfTwoProcesses(t *testing.T) {
	h := newHarness(t)
	first, second := h.config(), h.config()
	h.feed(200)
	apps := []*running{h.start(words(t, byWord), first), h.start(words(t, byWord), second)}
	views := map[*running]*runtime.View{}
	require.Eventually(t, func() bool {
		for _, app := range apps {
			view, err := app.View(byWord)
			if err != nil || len(view.Partitions) != 2 {
				return false
			}
			views[app] = view
		}
		return true
	}, patience, poll)
	for _, app := range apps {
		app.caughtUp()
		require.NoError(t, app.Checkpoint(h.ctx))
		view, err := app.View(byWord)
		require.NoError(t, err)
		views[app] = view
	}
	found := map[string]int64{}
	for _, view := range views {
		rows, here := byWord.Read(view.Reader), byWord.Read(view.Here())
		for word := range h.want {
			n, _, ok, err := rows.Get(word)
			if ok {
				require.NoError(t, err)
				found[word] = n
				continue
			}
			require.ErrorIs(t, err, runtime.ErrNotHere)
			require.ErrorContains(t, err, `store "by-word"`)
			_, _, ok, err = here.Get(word)
			require.NoError(t, err)
			require.False(t, ok)
		}
		scanned, elsewhere := 0, 0
		for _, err := range rows.All() {
			if scanned++; err != nil {
				require.ErrorIs(t, err, runtime.ErrNotHere)
				elsewhere++
			}
		}
		require.Equal(t, 1, elsewhere)
		for _, err := range here.All() {
			require.NoError(t, err)
			scanned--
		}
		require.Equal(t, 1, scanned)
	}
	require.Equal(t, h.want, found)
	for _, app := range apps {
		app.stop()
	}
}

// A global store that is not full yet is no place to look for what may still come.
func TestViewOfAGlobalTableThatIsBeingFilled(t *testing.T) {
	h := newHarness(t)
	h.create(1, "prices")
	tx := brokertest.Client(t, h.broker, kgo.TransactionalID("feed"))
	require.NoError(t, tx.BeginTransaction())
	require.NoError(t, tx.ProduceSync(h.ctx, h.price("a", 1)).FirstErr()) // not full before this is decided
	cfg := h.config()
	filling := make(chan struct{})
	cfg.Hooks.RestoreStarted = func(runtime.Restore) { close(filling) }
	app := h.start(priced(t), cfg)
	<-filling
	_, err := app.View(priceRows)
	require.ErrorIs(t, err, runtime.ErrRestoring)
	require.ErrorContains(t, err, "price-rows")
	require.NoError(t, tx.EndTransaction(h.ctx, kgo.TryCommit))
	app.settled()
	require.Equal(t, map[string]int64{"a": 1}, app.prices())
	app.stop()
}

func TestViewExpires(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.feed(50)
	app := h.start(words(t, byWord), cfg).caughtUp()
	require.NoError(t, app.Checkpoint(h.ctx))
	view, err := app.View(byWord)
	require.NoError(t, err)
	open := app.Stats().Views
	require.Len(t, open, 1)
	require.Equal(t, "by-word", open[0].Store)
	require.NoError(t, view.Close())
	require.Empty(t, app.Stats().Views)
	_, _, _, err = byWord.Read(view.Reader).Get("w0")
	require.ErrorContains(t, err, "the view is closed")
	require.ErrorIs(t, err, runtime.ErrClosed)
	app.stop()

	cfg.State.ViewAgeMax = time.Nanosecond
	app = h.start(words(t, byWord), cfg).settled()
	view, err = app.View(byWord)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(app.Stats().Views) == 0 }, patience, poll)
	for _, reader := range []*state.Reader{view.Reader, view.Here()} {
		_, _, ok, err := byWord.Read(reader).Get("w0")
		require.ErrorIs(t, err, runtime.ErrViewExpired)
		require.ErrorContains(t, err, `store "by-word"`)
		require.False(t, ok)
		scanned := 0
		for _, err := range byWord.Read(reader).All() {
			require.ErrorIs(t, err, runtime.ErrViewExpired)
			scanned++
		}
		require.Equal(t, 1, scanned)
	}
	require.NoError(t, view.Close())
	app.stop()
}
