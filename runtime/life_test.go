package runtime_test

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/topology"
)

// caughtUp waits until all input is counted and committed.
func (r *running) caughtUp() *running {
	r.h.t.Helper()
	ctx, cancel := context.WithTimeout(r.h.ctx, patience)
	defer cancel()
	require.NoError(r.h.t, r.WaitCaughtUp(ctx))
	return r
}

func TestWaitCaughtUp(t *testing.T) {
	h := newHarness(t)
	h.feed(300)
	app := h.start(words(t, byWord), h.config())
	for range 5 {
		app.caughtUp()
		h.exact() // there is nothing more to wait for
		h.feed(100)
	}
	app.caughtUp().stop()
	h.exact()
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	require.Error(t, app.WaitCaughtUp(ctx))
}

// A producer that does not wait for the disk has been answered, and nobody can read its record yet.
func TestWaitCaughtUpKnowsOfWhatIsNotSafeYet(t *testing.T) {
	var stalled atomic.Bool
	release := make(chan struct{})
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if stalled.Load() && op.Kind == errorfs.OpFileSyncData && strings.Contains(op.Path, "lines-") {
			<-release
		}
		return nil
	}))
	h := newHarness(t, func(cfg *broker.Config) { cfg.FS, cfg.Dir = fs, "broker" })
	h.feed(50)
	app := h.start(words(t, byWord), h.config()).caughtUp()
	stalled.Store(true)
	h.want["late"]++
	h.total++
	builder := batch.NewBuilder(batch.None)
	builder.Append(time.Now().UnixMilli(), nil, []byte("late"), nil)
	late, err := builder.Finish(batch.Producer{ID: -1, Epoch: -1, Sequence: -1})
	require.NoError(t, err)
	results, err := direct.Of(h.broker).Produce(h.ctx, direct.ProduceRequest{
		Acks: direct.AcksNone, Partitions: []direct.ProducePartition{{Topic: "lines", Batches: late}},
	})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	ctx, cancel := context.WithTimeout(h.ctx, 500*time.Millisecond)
	defer cancel()
	err = app.WaitCaughtUp(ctx)
	stalled.Store(false)
	close(release)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	app.caughtUp()
	h.exact()
}

// What the application has committed is caught up only when a reader that reads committed sees it: here another
// producer's open transaction is in the way.
func TestWaitCaughtUpWaitsUntilOutputsCanBeRead(t *testing.T) {
	h := newHarness(t)
	other := brokertest.Client(t, h.broker, kgo.TransactionalID("other"))
	require.NoError(t, other.BeginTransaction())
	for p := range int32(4) {
		r := &kgo.Record{Topic: "counts", Partition: p, Key: []byte("other"), Value: make([]byte, 8)}
		require.NoError(t, other.ProduceSync(h.ctx, r).FirstErr())
	}
	h.feed(50)
	app := h.start(words(t, byWord), h.config())
	ctx, cancel := context.WithTimeout(h.ctx, 500*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, app.WaitCaughtUp(ctx), context.DeadlineExceeded)
	require.NoError(t, other.EndTransaction(h.ctx, kgo.TryAbort))
	app.caughtUp()
	h.exact()
}

// A store in memory can't be viewed, whatever the name says that the caller has, nor can one under another kind of
// name.
func TestViewRefuses(t *testing.T) {
	h := newHarness(t)
	app := h.start(words(t, byWord.InMemory()), h.config()).settled()
	for _, name := range []state.Store{byWord, byWord.InMemory()} {
		_, err := app.View(name)
		require.ErrorContains(t, err, `view: store "by-word" is in memory alone`)
		require.ErrorContains(t, err, "leave InMemory out of its name, or read its changelog wordcount-by-word-changelog")
	}
	_, err := app.View(state.NewSession[string, int64]("by-word"))
	require.ErrorContains(t, err, `view: store "by-word" is a key-value store, and not a session store`)
	_, err = app.View(state.NewKV[string, string]("by-word"))
	require.ErrorContains(t, err, `view: store "by-word" is a state.KV[string,int64], and not a state.KV[string,string]`)
}

func TestView(t *testing.T) {
	h := newHarness(t)
	app := h.start(words(t, byWord), h.config())
	h.feed(300)
	app.caughtUp()
	require.NoError(t, app.Checkpoint(h.ctx))
	view, err := app.View(byWord)
	require.NoError(t, err)
	require.Equal(t, []int32{0, 1, 2, 3}, view.Partitions)
	before := map[string]int64{}
	for e, err := range byWord.Read(view.Reader).All() {
		require.NoError(t, err)
		before[e.Key] = e.Value
	}
	require.Equal(t, h.want, before)
	n, _, ok, err := byWord.Read(view.Reader).Get("w0")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, h.want["w0"], n)

	was := n // a view does not move
	h.feed(100)
	app.caughtUp()
	require.NoError(t, app.Checkpoint(h.ctx))
	n, _, _, err = byWord.Read(view.Reader).Get("w0")
	require.NoError(t, err)
	require.Equal(t, was, n)
	require.NoError(t, view.Close())
	require.NoError(t, view.Close())

	_, err = app.View(state.NewKV[string, int64]("other"))
	require.ErrorContains(t, err, `no store "other"`)
	left, err := app.View(byWord) // closed by the application
	require.NoError(t, err)
	app.stop()
	require.NoError(t, left.Close())
	_, err = app.View(byWord)
	require.ErrorContains(t, err, "closed")
	require.Error(t, app.Checkpoint(h.ctx))
}

func TestPause(t *testing.T) {
	h := newHarness(t)
	app := h.start(words(t, byWord), h.config()).settled()
	h.feed(100)
	app.caughtUp()
	app.Pause()
	require.True(t, app.Paused())
	require.NoError(t, app.Checkpoint(h.ctx)) // each worker has been in its loop since
	h.feed(100)
	require.NoError(t, app.Checkpoint(h.ctx))
	before := len(h.read("counts"))
	ctx, cancel := context.WithTimeout(h.ctx, 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, app.WaitCaughtUp(ctx), context.DeadlineExceeded)
	require.Len(t, h.read("counts"), before)
	app.Resume()
	app.caughtUp().stop()
	h.exact()
}

func TestHooksSeeTheLifeOfAnApplication(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	var mu sync.Mutex
	var states, tasks []string
	cfg.Hooks.StateChanged = func(_, to runtime.State) {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, to.String())
	}
	cfg.Hooks.TaskChanged = func(e runtime.TaskEvent) {
		mu.Lock()
		defer mu.Unlock()
		tasks = append(tasks, e.Task.String()+" "+e.State)
	}
	app := h.start(words(t, byWord), cfg).settled()
	app.stop()
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"rebalancing", "running", "closing", "closed"}, states)
	require.Contains(t, tasks, "1_3 running")
	require.Contains(t, tasks, "1_3 closed")
}

func TestCloseFromAHook(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	closed := make(chan error, 1)
	var app *running
	ready := make(chan struct{})
	cfg.Hooks.StateChanged = func(_, to runtime.State) {
		if to == runtime.Running {
			<-ready
			closed <- app.Close(h.ctx)
		}
	}
	app = h.start(words(t, byWord), cfg)
	close(ready)
	require.NoError(t, <-closed)
	require.NoError(t, <-app.end)
}

func TestRepartitionTopicsArePurged(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.Topics.PurgeInterval = 20 * time.Millisecond
	app := h.start(words(t, byWord), cfg)
	h.feed(300)
	app.caughtUp()
	require.Eventually(t, func() bool {
		starts, err := h.admin.ListStartOffsets(h.ctx, "wordcount-words-repartition")
		require.NoError(t, err)
		n := int64(0)
		starts.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n >= h.total
	}, patience, poll)
	h.feed(100)
	app.caughtUp().stop()
	h.exact()
}

// blocker waits in Process until it is let go.
type blocker struct{ let <-chan struct{} }

func (b blocker) Init(*topology.Context[string, string]) error { return nil }

func (b blocker) Process(topology.Record[string, string]) error {
	<-b.let
	return nil
}

func TestStalledWorkerIsReported(t *testing.T) {
	h := newHarness(t)
	let := make(chan struct{})
	b := topology.NewBuilder()
	b.Source("lines", lineTopic).Process("hang", func() blocker { return blocker{let} })
	topo, err := b.Build()
	require.NoError(t, err)
	cfg := h.config()
	cfg.StallTimeout = 50 * time.Millisecond
	stalled := make(chan runtime.Stall, 10)
	cfg.Hooks.Stalled = func(s runtime.Stall) { stalled <- s }
	app := h.start(topo, cfg).settled()
	h.feed(1)
	for s := (runtime.Stall{}); !strings.Contains(s.Doing, "processing task 0_"); { // on a busy machine anything stalls
		select {
		case s = <-stalled:
		case <-time.After(patience):
			require.Fail(t, "the worker that hangs is not reported")
		}
	}
	close(let)
	app.stop()
}

// TestRestoreGoesOn: a restore that was cut short goes on where it was, not at the start of the changelog.
func TestRestoreGoesOn(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	app := h.start(words(t, byWord), cfg)
	h.feed(100)
	app.caughtUp().stop()
	client := brokertest.Client(t, h.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range 600 { // 19 MiB: more than one fetch
		client.Produce(h.ctx, &kgo.Record{
			Topic: "wordcount-by-word-changelog", Key: fmt.Appendf(nil, "%032768d", i), Value: make([]byte, 8),
		}, nil)
	}
	require.NoError(t, client.Flush(h.ctx))
	// The restore can't end before the stop: the last record of the changelog is not decided.
	abort := h.undecided("wordcount-by-word-changelog")

	cfg.State.FS = vfs.NewMem()
	var ticks atomic.Int64
	began := time.Now()
	cfg.Clock = func() time.Time { return began.Add(time.Duration(ticks.Add(1)) * time.Second) } // every look reports
	reached, closing := make(chan runtime.Restore), make(chan struct{})
	var once sync.Once
	cfg.Hooks.RestoreProgress = func(r runtime.Restore) {
		once.Do(func() {
			reached <- r
			<-closing // the application ends after its hooks
		})
	}
	app = h.start(words(t, byWord), cfg)
	cut := <-reached
	atOnce, cancel := context.WithCancel(h.ctx)
	cancel()
	require.ErrorContains(t, app.Close(atOnce), "still stopping")
	close(closing)
	app.stop()
	abort()
	require.Positive(t, cut.Position)
	require.Less(t, cut.Position, cut.End)

	var starts []int64
	cfg.Hooks.RestoreProgress = nil
	cfg.Hooks.RestoreStarted = func(r runtime.Restore) {
		if r.Task == cut.Task {
			starts = append(starts, r.Start)
		}
	}
	h.start(words(t, byWord), cfg).caughtUp().stop()
	require.NotEmpty(t, starts)
	require.GreaterOrEqual(t, starts[0], cut.Position)
	h.exact()
}

func TestResetNoneNeedsAnOffset(t *testing.T) {
	h := newHarness(t)
	b := topology.NewBuilder()
	b.Source("lines", lineTopic.Reset(topology.Reset{Policy: topology.ResetNone})) // this line is in the error
	_, _, line, _ := goruntime.Caller(0)
	topo, err := b.Build()
	require.NoError(t, err)
	err = h.start(topo, h.config()).fails()
	require.ErrorContains(t, err, "reset policy is none")
	require.ErrorIs(t, err, runtime.ErrNoOffset)
	require.ErrorContains(t, err, "lines")
	require.ErrorContains(t, err, fmt.Sprintf("life_test.go:%d", line-1))
}

// A broker that was closed in this process does not open again.
func TestBrokerClosedBeforeTheApplication(t *testing.T) {
	h := newHarness(t)
	app := h.start(words(t, byWord), h.config()).settled()
	require.NoError(t, h.broker.Close())
	err := app.fails()
	require.ErrorIs(t, err, broker.ErrClosed)
	require.ErrorIs(t, app.WaitRunning(h.ctx), broker.ErrClosed, "who waits learns why")
	require.ErrorContains(t, err, "close the application and its clients before the broker")
	require.ErrorIs(t, app.Close(h.ctx), broker.ErrClosed)
}

// Work that ends before the application has begun has its own error, and not that of an application that was closed.
func TestWorkThatEndsAtOnce(t *testing.T) {
	h := newHarness(t)
	mistake := errors.New("mistake of the work")
	for range 20 {
		app, err := runtime.New(words(t, byWord), h.config())
		require.NoError(t, err)
		require.ErrorIs(t, app.RunDuring(h.ctx, func(context.Context) error { return mistake }), mistake)
	}
}
