package state

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

// modelRow is a row of the naive model.
type modelRow struct {
	value     string
	timestamp int64
}

// model is a key-value store as simple as it can be.
type model struct {
	now, committed, flushed map[string]modelRow
	changelog               map[string]modelRow // what a restore would find, up to the last commit
	uncommitted             map[string]*modelRow
	order                   []string // keys changed since the last flush, by last change
}

func newModel() *model {
	return &model{
		now: map[string]modelRow{}, committed: map[string]modelRow{}, flushed: map[string]modelRow{},
		changelog: map[string]modelRow{}, uncommitted: map[string]*modelRow{},
	}
}

func (m *model) change(key string, row *modelRow) {
	if row == nil {
		delete(m.now, key)
	} else {
		m.now[key] = *row
	}
	if i := slices.Index(m.order, key); i >= 0 {
		m.order = slices.Delete(m.order, i, i+1)
	}
	m.order = append(m.order, key)
}

// drainedModel is the model's store, and its changelog, as the commit in progress makes it.
type drainedModel struct{ now, log map[string]modelRow }

// rig runs a store of values V beside the model.
type rig[V any] struct {
	t       *testing.T
	r       *rand.Rand
	engine  *memory.Engine
	config  Config
	name    KV[string, V]
	tx      *Tx
	store   *KVStore[string, V]
	model   *model
	to      func(string) V
	from    func(V) string
	offset  int64
	drained *drainedModel // what was drained and is not committed yet; nil: nothing
	listen  bool
	disk    bool
	told    []string
	clock   int64
	label   string
	ahead   []Prefetcher
}

func (g *rig[V]) open() {
	g.tx = NewTx(g.config)
	var err error
	g.store, err = g.name.Open(g.tx)
	require.NoError(g.t, err)
	g.ahead = []Prefetcher{g.store.Prefetcher(true)(), g.store.Prefetcher(false)()}
	if g.listen {
		g.store.OnFlush(1, true, func(f *Flushed[string, V]) error {
			text := f.Key + ":"
			if f.HasOld {
				text += g.from(f.Old)
			}
			text += ">"
			if f.HasNew {
				text += g.from(f.New)
			}
			g.told = append(g.told, fmt.Sprintf("%s@%d", text, f.Timestamp))
			return nil
		})
	}
}

func (g *rig[V]) key() string {
	n := g.r.IntN(300)
	if n%5 == 0 {
		return fmt.Sprintf("a-rather-long-key-for-an-entry-%d", n)
	}
	return fmt.Sprintf("k%d", n)
}

func (g *rig[V]) write() {
	key := g.key()
	g.clock++
	if g.r.IntN(4) == 0 {
		require.NoError(g.t, g.store.Delete(key, g.clock))
		g.model.change(key, nil)
		g.remember(key)
		return
	}
	text := fmt.Sprintf("v%d", g.clock%1000)
	require.NoError(g.t, g.store.Put(key, g.to(text), g.clock))
	g.model.change(key, &modelRow{text, g.clock})
	g.remember(key)
}

// remember notes the time of a key's last change for the flush.
func (g *rig[V]) remember(key string) { g.model.uncommitted[key] = &modelRow{timestamp: g.clock} }

func (g *rig[V]) read() {
	key := g.key()
	value, timestamp, ok, err := g.store.Get(key)
	require.NoError(g.t, err)
	row, has := g.model.now[key]
	require.Equal(g.t, has, ok, "%s key %s", g.label, key)
	if ok {
		require.Equal(g.t, row, modelRow{g.from(value), timestamp}, g.label)
	}
	if g.listen {
		row, has = g.model.flushed[key]
	}
	value, timestamp, ok, changed, err := g.store.LastEmitted(key)
	require.NoError(g.t, err)
	require.Equal(g.t, g.listen && slices.Contains(g.model.order, key), changed, "%s key %s", g.label, key)
	require.Equal(g.t, has, ok, "%s key %s as the listener knows it", g.label, key)
	if ok {
		require.Equal(g.t, row, modelRow{g.from(value), timestamp}, g.label)
	}
}

func (g *rig[V]) flush() {
	g.told = g.told[:0]
	require.NoError(g.t, g.tx.Flush())
	if !g.listen {
		return
	}
	want := []string{}
	for _, key := range g.model.order {
		old, hadOld := g.model.flushed[key]
		now, has := g.model.now[key]
		if hadOld || has {
			at := g.model.uncommitted[key].timestamp
			want = append(want, fmt.Sprintf("%s:%s>%s@%d", key, old.value, now.value, at))
		}
	}
	require.Equal(g.t, want, append([]string{}, g.told...), g.label)
	g.model.order = nil
	g.model.flushed = maps.Clone(g.model.now)
}

// drain flushes and drains, with the changelog in hand.
func (g *rig[V]) drain() map[string]modelRow {
	g.flush()
	log := maps.Clone(g.model.changelog)
	seen := map[string]bool{}
	require.NoError(g.t, g.tx.Drain(func(s Store, key, value []byte, timestamp int64) error {
		require.Equal(g.t, g.name.Name(), s.Name())
		require.False(g.t, seen[string(key)], "%s: key drained twice", g.label)
		seen[string(key)] = true
		g.offset++
		if value == nil {
			delete(log, string(key))
			return nil
		}
		v, err := g.name.ValueSerde().Decode(slices.Clone(value))
		log[string(key)] = modelRow{g.from(v), timestamp}
		return err
	}))
	require.Equal(g.t, g.model.now, log, g.label)
	return log
}

// commit begins a commit. While it stays in progress, the steps up to the next one belong to the next transaction.
func (g *rig[V]) commit(underWay bool) {
	g.endCommit()
	log := g.drain()
	g.drained = &drainedModel{maps.Clone(g.model.now), log}
	if !underWay {
		g.endCommit()
	}
}

func (g *rig[V]) endCommit() {
	if g.drained == nil {
		return
	}
	require.NoError(g.t, g.tx.Commit(func(string) int64 { return g.offset }))
	g.model.committed, g.model.changelog = g.drained.now, g.drained.log
	g.drained = nil
}

func (g *rig[V]) discard() {
	require.NoError(g.t, g.tx.Discard())
	g.drained = nil
	g.model.now = maps.Clone(g.model.committed)
	g.model.flushed = maps.Clone(g.model.committed)
	g.model.order = nil
}

func (g *rig[V]) scan() {
	keys := slices.Sorted(maps.Keys(g.model.now))
	from, to := g.key(), g.key()
	reverse := g.r.IntN(2) == 0
	seq := g.store.Range(from, to)
	if reverse {
		seq = g.store.RangeReverse(from, to)
	}
	want := []Entry[string, string]{}
	for _, key := range keys {
		if key >= from && key <= to {
			want = append(want, Entry[string, string]{key, g.model.now[key].value, g.model.now[key].timestamp})
		}
	}
	if reverse {
		slices.Reverse(want)
	}
	got := []Entry[string, string]{}
	for e, err := range seq {
		require.NoError(g.t, err)
		got = append(got, Entry[string, string]{e.Key, g.from(e.Value), e.Timestamp})
		if g.r.IntN(50) == 0 { // reading while scanning is fine
			g.read()
		}
	}
	require.Equal(g.t, want, got, g.label)
}

// ages compares the first keys and their times, which are read without their values.
func (g *rig[V]) ages() {
	type age struct {
		key       string
		timestamp int64
	}
	most := 1 + g.r.IntN(len(g.model.now)+1)
	want, got := []age{}, []age{}
	for _, key := range slices.Sorted(maps.Keys(g.model.now))[:min(most, len(g.model.now))] {
		want = append(want, age{key, g.model.now[key].timestamp})
	}
	require.NoError(g.t, g.store.Ages()(func(key []byte, timestamp int64) bool {
		got = append(got, age{string(key), timestamp})
		return len(got) < most
	}))
	require.Equal(g.t, want, got, g.label)
}

// checkpoint brings what is committed to the engine, and nothing else.
func (g *rig[V]) checkpoint() {
	require.NoError(g.t, g.tx.Checkpoint())
	if !g.disk {
		return
	}
	other, err := g.name.Open(NewTx(Config{Engine: g.engine, Namespace: g.config.Namespace}))
	require.NoError(g.t, err)
	got := map[string]modelRow{}
	for e, err := range other.All() {
		require.NoError(g.t, err)
		got[e.Key] = modelRow{g.from(e.Value), e.Timestamp}
	}
	require.Equal(g.t, g.model.committed, got, g.label)
}

// restart loses what was not checkpointed, and restores it from the changelog.
func (g *rig[V]) restart(clean bool) {
	g.drained = nil
	if clean {
		require.NoError(g.t, g.tx.Close())
	}
	g.engine = g.engine.Restart()
	if g.config.Engine != nil {
		g.config.Engine = g.engine
	}
	g.open()
	for key, row := range g.model.committed { // idempotent: more than the missing part does no harm
		value, err := g.name.ValueSerde().Append(nil, g.to(row.value))
		require.NoError(g.t, err)
		require.NoError(g.t, g.tx.Restore(g.name.Name(), []byte(key), value, row.timestamp))
	}
	for e, err := range g.store.All() {
		require.NoError(g.t, err)
		if _, ok := g.model.committed[e.Key]; !ok {
			require.NoError(g.t, g.tx.Restore(g.name.Name(), []byte(e.Key), nil, 0))
		}
	}
	require.NoError(g.t, g.tx.RestoreDone(func(string) int64 { return g.offset }))
	g.model.now = maps.Clone(g.model.committed)
	g.model.flushed = maps.Clone(g.model.committed)
	g.model.order = nil
}

// prefetch announces keys, of which some are looked up at once, some later, and some never.
func (g *rig[V]) prefetch() {
	p := g.ahead[g.r.IntN(len(g.ahead))]
	a := &Ahead{}
	for range g.r.IntN(60) {
		a.Keys = append(a.Keys, []byte(g.key()))
	}
	p.PrefetchRows(a)
	for range g.r.IntN(20) {
		g.read()
	}
}

// readAll looks up many keys at once, some of them twice.
func (g *rig[V]) readAll() {
	var keys []string
	want, got := []Entry[string, string]{}, []Entry[string, string]{}
	for range g.r.IntN(100) {
		key := g.key()
		keys = append(keys, key)
		if row, has := g.model.now[key]; has {
			want = append(want, Entry[string, string]{key, row.value, row.timestamp})
		}
	}
	for e, err := range g.store.GetAll(keys) {
		require.NoError(g.t, err)
		got = append(got, Entry[string, string]{e.Key, g.from(e.Value), e.Timestamp})
	}
	require.Equal(g.t, want, got, g.label)
}

func (g *rig[V]) run(steps int) {
	g.model = newModel()
	if g.engine = memory.New(); g.disk {
		g.config.Engine = g.engine
	}
	g.open()
	for step := range steps {
		g.label = fmt.Sprintf("step %d", step)
		switch n := g.r.IntN(1000); {
		case n < 600:
			g.write()
		case n < 850:
			g.read()
		case n < 870:
			g.scan()
			g.ages()
		case n < 890:
			g.flush()
		case n < 920:
			g.commit(false)
		case n < 940:
			g.commit(true)
		case n < 950:
			g.endCommit()
		case n < 955:
			g.endCommit()
			g.drain() // and lost
			g.discard()
		case n < 960:
			g.discard()
		case n < 968:
			g.checkpoint()
		case n < 970:
			require.NoError(g.t, g.tx.Relieve())
		case n < 975:
			g.restart(g.r.IntN(2) == 0)
		case n < 982:
			g.readAll()
		default:
			g.prefetch()
		}
	}
}

type box struct{ Text []byte }

func TestKVEqualsModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i, c := range []Config{
		{}, {CheckpointCommits: 1}, {CheckpointCommits: 4, CacheBytesMax: 12_000}, {CheckpointCommits: 3},
	} {
		for _, listen := range []bool{false, true} {
			for _, inMemory := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/listen=%v/memory=%v", i, listen, inMemory), func(t *testing.T) {
					runModel(t, seed, c, listen, inMemory)
				})
			}
		}
	}
}

func runModel(t *testing.T, seed uint64, c Config, listen, inMemory bool) {
	c.Namespace = Namespace(7)
	t.Run("int64", func(t *testing.T) {
		g := &rig[int64]{t: t, r: rand.New(rand.NewPCG(seed, 1)), config: c, disk: !inMemory, listen: listen}
		g.name = NewKV[string, int64]("flat")
		g.to = func(s string) (n int64) { fmt.Sscanf(s, "v%d", &n); return n }
		g.from = func(n int64) string { return fmt.Sprintf("v%d", n) }
		g.run(1500)
	})
	t.Run("string", func(t *testing.T) {
		g := &rig[string]{t: t, r: rand.New(rand.NewPCG(seed, 2)), config: c, disk: !inMemory, listen: listen}
		g.name = NewKV[string, string]("views")
		g.to = func(s string) string { return s }
		g.from = g.to
		g.run(1500)
	})
	t.Run("pointer", func(t *testing.T) {
		g := &rig[*box]{t: t, r: rand.New(rand.NewPCG(seed, 3)), config: c, disk: !inMemory, listen: listen}
		g.name = NewKV[string, *box]("objects")
		g.to = func(s string) *box { return &box{[]byte(s)} }
		g.from = func(b *box) string { return string(b.Text) }
		g.run(1500)
	})
}

// Prefetching lines looks at a large table in whatever state its entries are, and changes nothing.
func TestPrefetchLinesChangesNothing(t *testing.T) {
	const keys = 3 * linesLeast
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
	text, err := NewKV[string, string]("text").Open(tx)
	require.NoError(t, err)
	lists, err := NewKV[string, []int64]("lists").Open(tx)
	require.NoError(t, err)
	now, committed := map[string]string{}, map[string]string{}
	for step := range 400 {
		var some []string
		var encoded [][]byte
		for range 100 {
			some = append(some, fmt.Sprintf("key-%d", r.IntN(keys)))
			encoded = append(encoded, []byte(some[len(some)-1]))
		}
		text.Prefetcher(true)().PrefetchLines(encoded)
		lists.Prefetcher(true)().PrefetchLines(encoded)
		text.Prefetcher(false)().PrefetchLines(encoded)
		for _, key := range some {
			got, _, ok, err := text.Get(key)
			require.NoError(t, err)
			list, _, _, err := lists.Get(key)
			require.NoError(t, err)
			want, present := now[key]
			require.Equal(t, present, ok)
			require.Equal(t, want, got)
			require.Len(t, list, len(want)%7)
			if r.IntN(10) == 0 {
				require.NoError(t, errors.Join(text.Delete(key, 1), lists.Delete(key, 1)))
				delete(now, key)
				continue
			}
			n := r.IntN(700)
			now[key] = strings.Repeat("x", n)
			require.NoError(t, errors.Join(text.Put(key, now[key], 1), lists.Put(key, make([]int64, n%7), 1)))
		}
		switch {
		case step%40 == 39:
			require.NoError(t, tx.Discard())
			now = maps.Clone(committed)
		case step%10 == 9:
			require.NoError(t, tx.Drain(drainNothing))
			require.NoError(t, tx.Commit(nil))
			committed = maps.Clone(now)
		}
	}
	require.Greater(t, len(now), linesLeast)
}

// TestEmptyKeyIsNotNull: serdes get empty bytes, never nil, for what is empty.
func TestEmptyKeyIsNotNull(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
		st, err := NewKV[[]byte, []byte]("bytes").Open(tx)
		require.NoError(t, err)
		windows, err := NewWindowed[[]byte, []byte]("windows").Open(tx)
		require.NoError(t, err)
		told := 0
		st.OnFlush(1, true, func(f *Flushed[[]byte, []byte]) error {
			told++
			require.NotNil(t, f.Key)
			require.NotNil(t, f.New)
			return nil
		})
		require.NoError(t, st.Put([]byte{}, []byte{}, 1))
		require.NoError(t, windows.Put([]byte{}, 5, []byte{}, 1))
		require.NoError(t, tx.Flush())
		require.Equal(t, 1, told)
		require.NoError(t, tx.Drain(func(_ Store, key, value []byte, _ int64) error {
			require.NotNil(t, key)
			require.NotNil(t, value)
			return nil
		}))
		require.NoError(t, tx.Commit(nil))
		if checkpoint {
			require.NoError(t, tx.Checkpoint())
			require.NoError(t, tx.Close())
			tx = NewTx(tx.config)
			st, err = NewKV[[]byte, []byte]("bytes").Open(tx)
			require.NoError(t, err)
			windows, err = NewWindowed[[]byte, []byte]("windows").Open(tx)
			require.NoError(t, err)
		}
		rows := 0
		for e, err := range st.All() {
			require.NoError(t, err)
			require.NotNil(t, e.Key)
			require.NotNil(t, e.Value)
			rows++
		}
		for e, err := range windows.All(0, 10) {
			require.NoError(t, err)
			require.NotNil(t, e.Key)
			require.NotNil(t, e.Value)
			rows++
		}
		require.Equal(t, 2, rows)
	}
}
