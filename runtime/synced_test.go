package runtime_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/state/pebble"
	"thalweg/stream"
	"thalweg/topology"
)

// keeper keeps each key in one store and, where it is not deleted, in another.
type keeper struct {
	seen, live *state.KVStore[string, int64]
	names      []state.KV[string, int64]
}

var (
	seenKeys = state.NewKV[string, int64]("seen")
	liveKeys = state.NewKV[string, int64]("live")
)

func (k *keeper) Init(c *topology.Context[string, string]) (err error) {
	if k.seen, err = k.names[0].Open(c); err == nil && len(k.names) > 1 {
		k.live, err = k.names[1].Open(c)
	}
	return err
}

func (k *keeper) Process(r topology.Record[string, string]) error {
	if err := k.seen.Put(r.Key, 1, r.Timestamp); err != nil || k.live == nil {
		return err
	}
	if r.Value == "delete" {
		return k.live.Delete(r.Key, r.Timestamp)
	}
	return k.live.Put(r.Key, 1, r.Timestamp)
}

// keeping builds a task that keeps some of the stores.
func keeping(t *testing.T, names ...state.KV[string, int64]) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	var stores []state.Store
	for _, n := range names {
		stores = append(stores, n)
	}
	b.Source("keys", topology.NewTopic[string, string]("keys")).
		Process("keep", func() *keeper { return &keeper{names: names} }, stores...)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// forgetful is a harness whose broker drops the tombstones of the changelog of live soon.
type forgetful struct {
	*harness
	clock     *brokertest.Clock
	cfg       runtime.Config
	retention time.Duration
}

const liveChangelog = "wordcount-live-changelog"

// newForgetful leaves a disk on which the keys a and b live.
func newForgetful(t *testing.T, retention time.Duration) *forgetful {
	clock := brokertest.NewClock()
	f := &forgetful{harness: newHarness(t, brokertest.At(clock)), clock: clock, retention: retention}
	f.create(1, "keys")
	f.cfg = f.config()
	began := time.Now()
	f.cfg.Clock = func() time.Time { return clock.Now().Add(time.Since(began)) }
	f.cfg.Topics.Config = map[string]string{"segment.ms": "1000", "min.cleanable.dirty.ratio": "0"}
	require.Equal(t, []string{"a", "b"}, f.after(f.cfg, keeping(t, seenKeys, liveKeys), "set", "a", "b"))
	f.alter(liveChangelog, "delete.retention.ms", fmt.Sprint(retention.Milliseconds()))
	return f
}

// after processes lines and returns the keys that live then.
func (f *forgetful) after(cfg runtime.Config, topo *topology.Topology, value string, keys ...string) []string {
	f.t.Helper()
	app := f.start(topo, cfg).settled()
	for _, key := range keys {
		f.produce(&kgo.Record{Topic: "keys", Key: []byte(key), Value: []byte(value), Timestamp: f.clock.Now()})
	}
	app.caughtUp()
	require.NoError(f.t, app.Checkpoint(f.ctx))
	var live []string
	if view, err := app.View(liveKeys); err == nil {
		for e, err := range liveKeys.Read(view.Reader).All() {
			require.NoError(f.t, err)
			live = append(live, e.Key)
		}
		require.NoError(f.t, view.Close())
	}
	app.stop()
	return live
}

// deleteElsewhere deletes a on another machine, until the broker forgets it. It returns the keys that live then.
func (f *forgetful) deleteElsewhere() []string {
	f.t.Helper()
	other := f.cfg
	other.State.FS = vfs.NewMem()
	topo := keeping(f.t, seenKeys, liveKeys)
	require.Equal(f.t, []string{"b"}, f.after(other, topo, "delete", "a"))
	want := []string{"b"}
	// One round of compaction meets the tombstone and one drops it. A round may come before a transaction's marker.
	for remembers := true; remembers; {
		f.clock.Advance(2 * f.retention)
		key := fmt.Sprintf("c%03d", len(want))
		want = append(want, key)
		require.Equal(f.t, want, f.after(other, topo, "set", key))
		remembers = slices.ContainsFunc(f.read(liveChangelog), func(r *kgo.Record) bool { return string(r.Key) == "a" })
	}
	return want
}

// A copy that lacks tombstones which are gone is restored whole: what was deleted stays deleted. The topic says how
// long it keeps them, whatever the program has set.
func TestDeletedKeysStayDeleted(t *testing.T) {
	f := newForgetful(t, time.Minute)
	want := f.deleteElsewhere()
	require.Equal(t, want, f.after(f.cfg, keeping(t, seenKeys, liveKeys), "set"))
}

// A store that the program did not have for a while is as old as it is, though its task and another store of that were
// kept up.
func TestTheAgeIsThatOfAStore(t *testing.T) {
	f := newForgetful(t, 2*time.Hour)
	want := f.deleteElsewhere()
	f.after(f.cfg, keeping(t, seenKeys), "")
	log := loggedTo(&f.cfg)
	require.Equal(t, want, f.after(f.cfg, keeping(t, seenKeys, liveKeys), "set"))
	require.Contains(t, log.String(), "store live in state/wordcount was not kept up")
	require.NotContains(t, log.String(), "store seen in state/wordcount was not kept up")
}

// behind leaves a disk of the word count that lacks records, which another machine has counted.
func (h *harness) behind() runtime.Config {
	h.t.Helper()
	cfg := h.config()
	h.counted(cfg, 50)
	other := cfg
	other.State.FS = vfs.NewMem()
	h.counted(other, 50)
	return cfg
}

// restores notes where restores of by-word begin.
func restores(cfg *runtime.Config) map[int32]int64 {
	starts := map[int32]int64{}
	cfg.Hooks.RestoreStarted = func(r runtime.Restore) { starts[r.Task.Partition] = r.Start }
	return starts
}

func (h *harness) later(cfg *runtime.Config, d time.Duration) {
	cfg.Clock = func() time.Time { return time.Now().Add(d) }
}

// The sub-topologies of a program are numbered: where another comes first, a store lies in another task, and its copy
// is as good as before.
func TestAStoreThatMovesToAnotherTask(t *testing.T) {
	h := newHarness(t)
	cfg := h.behind()
	h.create(4, "others")
	b := topology.NewBuilder()
	b.Source("others", topology.NewTopic[string, string]("others")).
		Process("seen", func() *keeper { return &keeper{names: []state.KV[string, int64]{seenKeys}} }, seenKeys)
	b.Source("lines", lineTopic).
		Process("split", func() *splitter { return &splitter{} }).
		Repartition("words").
		Process("count", func() *counter { return &counter{name: byWord} }, byWord).
		Sink("counts", topology.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	starts := restores(&cfg)
	h.later(&cfg, time.Hour)
	app := h.start(topo, cfg).caughtUp()
	require.Equal(t, h.want, app.rows())
	app.stop()
	require.Len(t, starts, 4)
	for p, start := range starts {
		require.Positive(t, start, "partition %d was restored whole", p)
	}
}

// A copy that lacks nothing is never too old, and one that does is after the retention.
func TestOldStateIsWiped(t *testing.T) {
	for _, c := range []struct {
		later  time.Duration
		behind bool
		wiped  bool
	}{
		{23 * time.Hour, true, false}, {24 * time.Hour, true, true}, {-time.Hour, true, true},
		{1000 * time.Hour, false, false},
	} {
		h := newHarness(t)
		cfg := h.config()
		if c.behind {
			cfg = h.behind()
		} else {
			cfg.Guarantee = runtime.AtLeastOnce // else there are markers behind the position
			h.counted(cfg, 50)
		}
		starts := restores(&cfg)
		h.later(&cfg, c.later)
		app := h.start(words(t, byWord), cfg).caughtUp()
		require.Equal(t, h.want, app.rows())
		app.stop()
		require.Equal(t, c.behind, len(starts) > 0)
		for p, start := range starts {
			require.Equal(t, c.wiped, start == 0, "partition %d after %v: restored from %d", p, c.later, start)
		}
	}
}

// The same of a global store, which is filled again.
func TestAnOldGlobalStoreIsFilledAgain(t *testing.T) {
	for _, c := range []struct {
		later  time.Duration
		behind bool
		starts []int64
	}{{23 * time.Hour, true, []int64{1}}, {24 * time.Hour, true, []int64{0}}, {1000 * time.Hour, false, nil}} {
		h := newHarness(t)
		h.create(1, "prices")
		h.produce(h.price("a", 1))
		cfg := h.config()
		h.start(priced(t), cfg).settled().stop()
		want := map[string]int64{"a": 1}
		if c.behind {
			h.produce(h.price("b", 2))
			want["b"] = 2
		}
		var starts []int64
		cfg.Hooks.RestoreStarted = func(r runtime.Restore) { starts = append(starts, r.Start) }
		h.later(&cfg, c.later)
		app := h.start(priced(t), cfg).settled()
		require.Equal(t, want, app.prices())
		app.stop()
		require.Equal(t, c.starts, starts, "after %v", c.later)
	}
}

// An application that has nothing to do keeps its stores young, and a process that is killed then has them so. One that
// is closed has those of its tasks as young as can be.
func TestIdleStoresAreKeptUp(t *testing.T) {
	h := newHarness(t)
	h.create(2, "prices")
	h.produce(h.price("a", 1))
	cfg := quick(h.config()) // a global store that is idle looks at the clock when the age of its metadata is over
	disk := (&moved{harness: h}).emptyDisk()
	cfg.State.FS = disk
	var later atomic.Int64
	cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	began := time.Now()
	b := stream.NewBuilder()
	b.Stream(lines).
		LeftJoinGlobal(b.GlobalTable(prices, priceRows), func(k, _ string) (string, bool) { return k, true },
			func(line string, _ *int64) string { return line }).
		GroupByKey().Count(byWord)
	topo, err := b.Build()
	require.NoError(t, err)
	app := h.start(topo, cfg)
	h.feed(50)
	app.caughtUp()
	later.Store(int64(48 * time.Hour))
	require.Eventually(t, func() bool {
		later.Add(int64(11 * time.Minute)) // a worker that looks at the clock for the first time waits for ten more
		crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rand.New(rand.NewPCG(1, 1))})
		l, err := runtime.OpenLocalState("state/wordcount", crashed)
		if err != nil {
			return false // it was copied while it was made
		}
		young := map[string]bool{}
		for _, s := range local(t, l, func(s runtime.LocalStore) bool { return s.Synced.Sub(began) > 47*time.Hour }) {
			young[s.Store] = true
		}
		require.NoError(t, l.Close())
		return maps.Equal(young, map[string]bool{"by-word": true, "price-rows": true})
	}, patience, poll)
	closed := time.Duration(later.Add(int64(5 * time.Minute)))
	app.stop()
	l, err := runtime.OpenLocalState("state/wordcount", disk)
	require.NoError(t, err)
	for _, s := range local(t, l, func(s runtime.LocalStore) bool { return s.Store == "by-word" }) {
		require.GreaterOrEqual(t, s.Synced.Sub(began), closed, "partition %d", s.Partition)
	}
	require.NoError(t, l.Close())
}

// untimed makes a directory what the build before the times would have left: they are in a file, by task.
func (h *harness) untimed(fs vfs.FS, store string, partitions int32, used map[string]time.Time) {
	h.t.Helper()
	h.rewritePositions(fs, store, partitions, func(row []byte) []byte {
		return append(append(row[:8:8], 1), withoutFormats(row)[8+1+8:]...)
	})
	h.writeFile(fs, "state/wordcount/state/STATE_FORMAT", []byte{2})
	h.writeUsed(fs, used)
}

func (h *harness) writeUsed(fs vfs.FS, used map[string]time.Time) {
	h.t.Helper()
	millis := map[string]int64{}
	for name, at := range used {
		millis[name] = at.UnixMilli()
	}
	text, err := json.Marshal(millis)
	require.NoError(h.t, err)
	h.writeFile(fs, "state/wordcount/used", text)
}

// rewritePositions changes the position rows of a store.
func (h *harness) rewritePositions(fs vfs.FS, store string, partitions int32, change func(row []byte) []byte) {
	h.t.Helper()
	e, err := pebble.Open("state/wordcount/state", pebble.Options{FS: fs})
	require.NoError(h.t, err)
	for p := range partitions {
		key := rowKey(p, store, 0)
		row, found, err := e.Get(nil, key)
		require.NoError(h.t, err)
		require.True(h.t, found, "partition %d", p)
		require.Greater(h.t, len(row), 8+1+8)
		b := e.NewBatch(0)
		require.NoError(h.t, b.Set(key, change(row)))
		require.NoError(h.t, b.Commit())
	}
	require.NoError(h.t, e.Close())
}

// A directory of the build before has the times of its tasks in a file. Task 1_3 is not in it.
func TestADirectoryWithTimesByTask(t *testing.T) {
	h := newHarness(t)
	cfg := h.behind()
	now := time.Now()
	used := map[string]time.Time{"0_0": now, "1_0": now, "1_1": now.Add(-23 * time.Hour), "1_2": now.Add(-24 * time.Hour)}
	h.untimed(cfg.State.FS, "by-word", 4, used)
	l, err := runtime.OpenLocalState("state/wordcount", cfg.State.FS)
	require.NoError(t, err)
	for _, s := range local(t, l, func(runtime.LocalStore) bool { return true }) {
		require.Equal(t, used[s.Task].UnixMilli(), s.Synced.UnixMilli(), s.Task)
	}
	require.NoError(t, l.Close())

	starts := restores(&cfg)
	app := h.start(words(t, byWord), cfg).caughtUp()
	require.Equal(t, h.want, app.rows())
	_, err = cfg.State.FS.Stat("state/wordcount/used")
	require.ErrorIs(t, err, os.ErrNotExist)
	app.stop()
	wiped := map[int32]bool{}
	for p, start := range starts {
		wiped[p] = start == 0
	}
	require.Equal(t, map[int32]bool{0: false, 1: false, 2: true, 3: true}, wiped)
}
