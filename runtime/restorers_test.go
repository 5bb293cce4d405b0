package runtime_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

// gated is a serde that waits at one value, while that is to be.
type gated struct {
	serde.String
	at   string
	wait *atomic.Pointer[chan struct{}]
}

func (g gated) Decode(src []byte) (string, error) {
	if c := g.wait.Load(); c != nil && string(src) == g.at {
		<-*c
	}
	return g.String.Decode(src)
}

// A worker goes on with the tasks that are ready while another of its tasks is being restored, and several tasks are
// restored at the same time. What restoring is at can be seen meanwhile.
func TestTasksWorkWhileAnotherIsRestored(t *testing.T) {
	h := newHarness(t)
	var gate atomic.Pointer[chan struct{}]
	values := gated{at: "stuck", wait: &gate}
	rows := stream.NewTopic[string, string]("rows").Values(values)
	out := stream.NewTopic[string, string]("out")
	b := stream.NewBuilder().OptimizeWith(stream.ReuseTopics)
	b.Table(rows, state.NewKV[string, string]("row-store").Values(values)).ToStream().To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	h.create(2, "rows")
	h.create(2, "out")
	client := brokertest.Client(t, h.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	send := func(partition int32, key, value string) {
		r := &kgo.Record{Topic: "rows", Partition: partition, Key: []byte(key), Value: []byte(value)}
		require.NoError(t, client.ProduceSync(h.ctx, r).FirstErr())
	}
	for p := range int32(2) {
		for i := range 10 {
			send(p, fmt.Sprint("k", i), "v")
		}
	}
	send(0, "k", "stuck")
	cfg := h.config()
	cfg.Workers = 1
	app := h.start(topo, cfg).settled()
	require.Eventually(t, func() bool { return len(h.read("out")) == 21 }, patience, poll)
	app.stop()

	cfg.State.FS = vfs.NewMem()
	stuck := make(chan struct{})
	gate.Store(&stuck)
	release := sync.OnceFunc(func() { close(stuck) })
	defer release() // before the application is closed
	ended := make(chan runtime.Restore, 10)
	cfg.Hooks.RestoreEnded = func(r runtime.Restore) { ended <- r }
	app = h.start(topo, cfg)
	first := <-ended
	require.EqualValues(t, 1, first.Task.Partition)
	require.EqualValues(t, 10, first.Records)
	require.Positive(t, first.Bytes)
	require.Positive(t, first.Elapsed)
	require.Positive(t, first.RecordsPerSecond)
	send(1, "k", "on")
	require.Eventually(t, func() bool { return len(h.read("out")) == 22 }, patience, poll, "the other task works")
	under := func() (all []runtime.Restore) {
		for _, w := range app.Stats().Workers {
			for _, task := range w.Tasks {
				all = append(all, task.Restores...)
			}
		}
		return all
	}
	require.Eventually(t, func() bool { return len(under()) == 1 }, patience, poll)
	require.Equal(t, runtime.TaskID{Subtopology: 0, Partition: 0}, under()[0].Task)
	require.Empty(t, ended)
	release()
	second := <-ended
	require.EqualValues(t, 0, second.Task.Partition)
	require.EqualValues(t, 11, second.Records)
	app.settled().stop()
}

// A changelog that is cut while it is read ends the application, unless the broker deletes expired rows by its clock:
// then what is left is restored.
func TestChangelogCutWhileItIsRead(t *testing.T) {
	for _, expires := range []bool{false, true} {
		t.Run(fmt.Sprint("expires ", expires), func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "old")
			h.produce(&kgo.Record{Topic: "old", Key: []byte("k"), Value: []byte("v")})
			h.feed(10)
			topo, changelog := words(t, byWord), byWordChangelog
			if expires {
				topo, changelog = clocked(t), "wordcount-windows-changelog"
			}
			cfg := h.config()
			h.start(topo, cfg).caughtUp().stop()
			h.undecided(changelog)
			end := h.ends(changelog)[0]

			cfg.State.FS = vfs.NewMem()
			started, ended := make(chan runtime.Restore, 10), make(chan runtime.Restore, 10)
			cfg.Hooks.RestoreStarted = func(r runtime.Restore) {
				if r.Task.Partition == 0 {
					started <- r
				}
			}
			cfg.Hooks.RestoreEnded = func(r runtime.Restore) { ended <- r }
			app := h.start(topo, cfg)
			<-started
			h.cut(changelog, map[int32]int64{0: end})
			if !expires {
				require.ErrorContains(t, app.fails(), fmt.Sprintf("was cut and begins at %d", end))
				return
			}
			app.settled()
			select {
			case r := <-ended:
				require.Equal(t, end, r.Position)
			case <-time.After(patience):
				require.Fail(t, "the end of the restore is not reported")
			}
			app.stop()
		})
	}
}

// undecided adds a record to partition 0 of a topic in a transaction that stays open, so that no reader comes to the
// topic's end. It returns what aborts the transaction.
func (h *harness) undecided(topic string) (abort func()) {
	h.t.Helper()
	tx := brokertest.Client(h.t, h.broker, kgo.TransactionalID("open"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(h.t, tx.BeginTransaction())
	require.NoError(h.t, tx.ProduceSync(h.ctx, &kgo.Record{
		Topic: topic, Key: []byte("undecided"), Value: make([]byte, 8),
	}).FirstErr())
	return func() { require.NoError(h.t, tx.EndTransaction(h.ctx, kgo.TryAbort)) }
}

// A changelog that ends with the marker of a transaction has nothing to restore, which is not worth a line.
func TestNothingToRestoreIsNotLogged(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	topo := countInto(t, "lines", "", byWord)
	require.Equal(t, keyCounts(1), h.count(topo, cfg))
	log := loggedTo(&cfg)
	h.start(topo, cfg).settled().stop()
	require.NotContains(t, log.String(), "msg=restoring")
	require.NotContains(t, log.String(), "msg=restored")

	cfg.State.FS = vfs.NewMem()
	log = loggedTo(&cfg)
	h.start(topo, cfg).settled().stop()
	require.Equal(t, 1, strings.Count(log.String(), "msg=restoring"))
	require.Equal(t, 1, strings.Count(log.String(), "msg=restored"))
}
