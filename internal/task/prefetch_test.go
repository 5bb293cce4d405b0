package task_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/state/engine"
	"thalweg/state/memory"
	"thalweg/stream"
	"thalweg/topology"
)

// lookups counts how its engine is asked.
type lookups struct {
	engine.Engine
	single, passes, together int
	scans                    int
}

func (l *lookups) Iterate(lower, upper []byte) (engine.Iterator, error) {
	l.scans++
	return l.Engine.Iterate(lower, upper)
}

func (l *lookups) Get(dst, key []byte) ([]byte, bool, error) {
	l.single++
	return l.Engine.Get(dst, key)
}

func (l *lookups) GetSorted(keys [][]byte, found func(int, []byte) error) error {
	l.passes++
	l.together += len(keys)
	return l.Engine.GetSorted(keys, found)
}

// beyond is a task whose rows do not fit into its cache.
type beyond struct {
	*rig
	engine *lookups
	next   map[string]int64

	topo          *topology.Topology
	cacheBytesMax int64
}

func newBeyond(t *testing.T, cacheBytesMax int64, b *stream.Builder) *beyond {
	r := &beyond{
		rig:    &rig{t: t, topics: map[string][]byte{}, ends: map[string]int64{}},
		engine: &lookups{Engine: memory.New()}, next: map[string]int64{}, cacheBytesMax: cacheBytesMax,
	}
	var err error
	r.topo, err = b.Build()
	require.NoError(t, err)
	r.open()
	t.Cleanup(func() { require.NoError(t, r.task.Close()) })
	return r
}

// open starts the task with what the engine has.
func (r *beyond) open() {
	t := r.t
	var err error
	r.outbox = task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }})
	tx := state.NewTx(state.Config{
		Engine: r.engine, Namespace: state.Namespace(0), CacheBytesMax: r.cacheBytesMax, CheckpointCommits: 1,
	})
	r.task, err = task.New(task.Config{
		ApplicationID: "app", Outbox: r.outbox, Subs: r.topo.Subtopologies(), Tx: tx,
	})
	require.NoError(t, err)
	for _, in := range r.task.Queues.Inputs() {
		require.NoError(t, r.task.Seek(task.Offset{Topic: in.Topic, Next: r.next[in.Topic]}))
	}
	require.NoError(t, r.task.Restored(r.position))
}

// pass sends one record for each key, in batches, and commits now and then.
func (r *beyond) pass(topic string, keys []int, value func(key int) string) {
	for len(keys) > 0 {
		n := min(len(keys), 4000)
		for _, some := range [][]int{keys[:n/3], keys[n/3 : n/2], keys[n/2 : n]} {
			var records []text
			for _, key := range some {
				records = append(records, text{Key: fmt.Sprintf("key-%06d", key), Value: value(key), Timestamp: 1000})
			}
			r.add(topic, r.next[topic], records...)
			r.next[topic] += int64(len(records))
		}
		for left := n; left > 0; left -= min(left, 700) {
			r.step(min(left, 700))
			r.commit()
		}
		keys = keys[n:]
	}
}

// TestLookupsAreMadeTogether: a count over more keys than fit into the cache hardly ever asks the engine for one, on a
// first pass and on a second, also where functions look at the records before. They are called once for each record.
func TestLookupsAreMadeTogether(t *testing.T) {
	const keys = 12_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, renamed := range []bool{false, true} {
		t.Run(fmt.Sprint("renamed ", renamed), func(t *testing.T) {
			b := stream.NewBuilder()
			calls := map[string]int{}
			s := b.Stream(stream.NewTopic[string, string]("in")).
				Filter(func(string, string) bool { calls["filter"]++; return true }).
				MapValues(func(v string) string { calls["map"]++; return v })
			if renamed { // as far as anybody knows
				s = s.SelectKey(func(k, _ string) string { calls["select"]++; return k }).KeepsPartition()
			}
			s.GroupByKey().Count(state.NewKV[string, int64]("counts")).ToStream().To(stream.NewTopic[string, int64]("out"))
			r := newBeyond(t, 512<<10, b)
			for pass := range 2 {
				r.engine.single, r.engine.passes, r.engine.together = 0, 0, 0
				r.pass("in", rand.New(rand.NewPCG(seed, uint64(pass))).Perm(keys), func(int) string { return "v" })
				if renamed {
					require.Greater(t, r.engine.single, keys/4, "pass %d", pass)
					require.Zero(t, r.engine.passes)
				} else {
					require.Less(t, r.engine.single, keys/20, "pass %d", pass)
					require.Greater(t, r.engine.together, keys/4, "pass %d", pass)
				}
			}
			want := map[string]int{"filter": 2 * keys, "map": 2 * keys}
			if renamed {
				want["select"] = 2 * keys
			}
			require.Equal(t, want, calls)
		})
	}
}

// foreseeing is a processor that keeps the last value of what it makes of a key.
type foreseeing struct {
	c     *topology.Context[string, string]
	told  []string // keys that have not come yet
	store *state.KVStore[string, string]
}

var foreseen = state.NewKV[string, string]("foreseen")

func (f *foreseeing) Init(c *topology.Context[string, string]) (err error) {
	f.c = c
	f.store, err = foreseen.Open(c)
	return err
}

func (f *foreseeing) Prefetch(keys []string) {
	f.told = append(f.told[:0], keys...)
	rows := make([]string, len(keys))
	for i, key := range keys {
		rows[i] = "row of " + key
	}
	f.store.Prefetch(rows)
}

func (f *foreseeing) Process(r text) error {
	if len(f.told) > 0 {
		if f.told[0] != r.Key {
			return fmt.Errorf("%s comes, not %s", r.Key, f.told[0])
		}
		f.told = f.told[1:]
	}
	_, _, _, err := f.store.Get("row of " + r.Key)
	if err == nil {
		err = f.store.Put("row of "+r.Key, r.Value, r.Timestamp)
	}
	return err
}

// TestAProcessorForesees: a processor gets the keys of the next records, in their order, where its store is on disk.
func TestAProcessorForesees(t *testing.T) {
	const keys = 12_000
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("in")).
		Process(func() topology.Processor[string, string, string, string] { return &foreseeing{} }, foreseen).
		To(stream.NewTopic[string, string]("out"))
	r := newBeyond(t, 1<<20, b)
	random := rand.New(rand.NewPCG(1, 1))
	for pass := range 2 {
		r.engine.single = 0
		r.pass("in", random.Perm(keys), func(int) string { return "v" })
		require.Less(t, r.engine.single, keys/5, "pass %d", pass)
		require.Positive(t, r.engine.passes)
	}
}

// TestLookupsOfOperatorsAreMadeTogether: each kind of look-up by the key of a record, after a restart, when nothing is
// in memory.
func TestLookupsOfOperatorsAreMadeTogether(t *testing.T) {
	const keys = 4000
	in, other := stream.NewTopic[string, string]("in"), stream.NewTopic[string, string]("other")
	out := stream.NewTopic[string, string]("out")
	tables := func(b *stream.Builder) (left, right stream.Table[string, string]) {
		return b.Table(in, state.NewKV[string, string]("left")), b.Table(other, state.NewKV[string, string]("right"))
	}
	both := func(a, b string) string { return a + b }
	for name, build := range map[string]func(b *stream.Builder){
		"reduce": func(b *stream.Builder) {
			b.Stream(in).GroupByKey().Reduce(state.NewKV[string, string]("st"), both).ToStream().To(out)
		},
		"windows": func(b *stream.Builder) {
			b.Stream(in).GroupByKey().Windowed(stream.Hopping(10*time.Second, 5*time.Second, time.Hour)).
				Reduce(state.NewWindowed[string, string]("st"), both)
		},
		"sessions": func(b *stream.Builder) {
			b.Stream(in).GroupByKey().Sessions(stream.SessionGap(10*time.Second, time.Hour)).
				Reduce(state.NewSession[string, string]("st"), both)
		},
		"versioned": func(b *stream.Builder) {
			b.VersionedTable(in, state.NewVersioned[string, string]("st", time.Hour)).ToStream().To(out)
		},
		"stream and table": func(b *stream.Builder) {
			_, right := tables(b)
			b.Stream(stream.NewTopic[string, string]("in")).JoinTable(right, both).To(out)
		},
		"tables": func(b *stream.Builder) {
			left, right := tables(b)
			left.Join(right, both).ToStream().To(out)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := stream.NewBuilder()
			build(b)
			r := newBeyond(t, 4<<20, b)
			random := rand.New(rand.NewPCG(1, 1))
			inputs := len(r.task.Queues.Inputs())
			for range inputs {
				for _, topic := range []string{"in", "other"}[:inputs] {
					r.pass(topic, random.Perm(keys), func(int) string { return "v" })
				}
				require.NoError(t, r.task.Close())
				r.open()
			}
			r.engine.single, r.engine.together, r.engine.scans = 0, 0, 0
			r.pass("in", random.Perm(keys), func(int) string { return "v" })
			require.Less(t, r.engine.single, keys/20)
			require.Less(t, r.engine.scans, keys/20)
			if name != "sessions" { // a scan finds those
				require.GreaterOrEqual(t, r.engine.together, inputs*keys)
			}
		})
	}
}
