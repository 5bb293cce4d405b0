package state

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
	"thalweg/state/memory"
)

// counting counts how its engine is called.
type counting struct {
	engine.Engine
	gets, passes, keys int
	broken             error // of the next passes
}

func (c *counting) Get(dst, key []byte) ([]byte, bool, error) {
	c.gets++
	return c.Engine.Get(dst, key)
}

func (c *counting) GetSorted(keys [][]byte, found func(int, []byte) error) error {
	c.passes++
	c.keys += len(keys)
	if c.broken != nil {
		return c.broken
	}
	return c.Engine.GetSorted(keys, found)
}

// onDisk returns a store of so many rows, none of which is in memory.
func onDisk(t *testing.T, rows int, config Config, value func(i int) string) (*KVStore[string, string], *counting) {
	t.Helper()
	e := &counting{Engine: memory.New()}
	name := NewKV[string, string]("rows")
	config.Engine, config.Namespace, config.CheckpointCommits = e, Namespace(0), -1
	full := config
	full.CacheBytesMax = 0
	tx := NewTx(full)
	st, err := name.Open(tx)
	require.NoError(t, err)
	for i := range rows {
		require.NoError(t, st.Put(fmt.Sprintf("key-%06d", i), value(i), 1))
	}
	commitAll(t, tx)
	require.NoError(t, tx.Close())
	st, err = name.Open(NewTx(config))
	require.NoError(t, err)
	e.gets = 0
	return st, e
}

// announce has a store read rows ahead.
func announce(p Prefetcher, keys ...string) {
	a := &Ahead{}
	for _, key := range keys {
		a.Keys = append(a.Keys, []byte(key))
	}
	p.PrefetchRows(a)
}

// What is announced is read in one pass, what is not there too, and each key once.
func TestPrefetchedRowsNeedNoLookup(t *testing.T) {
	st, e := onDisk(t, 1000, Config{}, func(i int) string { return fmt.Sprint("v", i) })
	p := st.Prefetcher(true)()
	require.Equal(t, AheadRecordsMax, p.RowsWanted())
	var keys []string
	for i := range 1500 {
		keys = append(keys, fmt.Sprintf("key-%06d", i*7%1500), fmt.Sprintf("key-%06d", i*7%1500))
	}
	announce(p, keys...)
	require.Equal(t, []int{0, 1, 1500}, []int{e.gets, e.passes, e.keys})
	for i := range 1500 {
		value, _, ok, err := st.Get(fmt.Sprintf("key-%06d", i))
		require.NoError(t, err)
		require.Equal(t, i < 1000, ok)
		if ok {
			require.Equal(t, fmt.Sprint("v", i), value)
		}
	}
	announce(p, keys...)
	require.Equal(t, []int{0, 1, 1500}, []int{e.gets, e.passes, e.keys}, "all of them are in memory")
	whole, err := NewKV[string, string]("another").Open(st.base.tx)
	require.NoError(t, err)
	require.Zero(t, whole.Prefetcher(true)().RowsWanted(), "a store that is all in memory")
}

// Rows that were read ahead stay until they are used, whatever else is read meanwhile, and then may go.
func TestPrefetchedRowsStay(t *testing.T) {
	st, e := onDisk(t, 20_000, Config{CacheBytesMax: 1 << 20}, func(i int) string { return strings.Repeat("x", 100) })
	p := st.Prefetcher(true)()
	get := func(i int) {
		t.Helper()
		_, _, ok, err := st.Get(fmt.Sprintf("key-%06d", i))
		require.NoError(t, err)
		require.True(t, ok)
	}
	get(0) // it is in memory before
	n := p.RowsWanted()
	require.Greater(t, n, 200)
	require.Less(t, n, 4000)
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("key-%06d", i))
	}
	announce(p, keys...)
	for i := n; i < 20_000; i++ {
		get(i)
	}
	e.gets = 0
	for i := range n {
		get(i)
	}
	require.Zero(t, e.gets)
	for i := n; i < 20_000; i++ {
		get(i)
	}
	e.gets = 0
	for i := range n {
		get(i)
	}
	require.Greater(t, e.gets, n/2)
	announce(p)
	require.Zero(t, st.base.tx.pinned)
}

// A prefetch fits into the cache, whatever the rows are like, and no pass takes more than a part of it.
func TestPrefetchKeepsWithinTheLimit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	const rows, most = 20_000, 2 << 20
	const chunk = arenaChunkMax // the last one is filled by and by
	st, e := onDisk(t, rows, Config{CacheBytesMax: most}, func(i int) string {
		if i%100 == 0 {
			return strings.Repeat("x", 100_000)
		}
		return strings.Repeat("x", i%700)
	})
	tx := st.base.tx
	inputs := []Prefetcher{st.Prefetcher(true)(), st.Prefetcher(true)(), st.Prefetcher(false)()}
	for range 60 {
		var keys []string
		from, few := r.IntN(rows), r.IntN(2) == 0
		for i := range 4000 {
			if few {
				i *= 100
			}
			keys = append(keys, fmt.Sprintf("key-%06d", (from+i)%rows))
		}
		tx.measure()
		before := tx.used
		announce(inputs[r.IntN(len(inputs))], keys...)
		require.LessOrEqual(t, tx.used, max(before, most)+chunk) // chunks are counted whole
		require.LessOrEqual(t, tx.pinned, int64(most))
		if before <= most {
			require.LessOrEqual(t, st.cache.rows.memoryBytes(), int64(most+2*chunk))
		}
		for range r.IntN(1000) {
			_, _, ok, err := st.Get(keys[r.IntN(len(keys))])
			require.NoError(t, err)
			require.True(t, ok)
		}
		if r.IntN(3) == 0 {
			require.NoError(t, st.Put(keys[r.IntN(len(keys))], "new", 2))
			commitAll(t, tx)
		}
	}
	require.Positive(t, e.passes)
	for _, p := range inputs {
		announce(p)
	}
	require.Zero(t, tx.pinned)
}

// Where changes fill the memory there is none for rows that are read ahead. The next commit, which is asked for at
// once, writes the changes to the engine, and then there is.
func TestPrefetchAsksForACheckpoint(t *testing.T) {
	const most = 1 << 20
	st, e := onDisk(t, 5000, Config{CacheBytesMax: most}, func(int) string { return strings.Repeat("x", 100) })
	tx, p := st.base.tx, st.Prefetcher(true)()
	var keys []string
	for i := range 1000 {
		keys = append(keys, fmt.Sprintf("key-%06d", i))
	}
	for i := 0; tx.used < most-most/(2*spareParts); i++ {
		require.NoError(t, st.Put(fmt.Sprintf("new-%06d", i), strings.Repeat("y", 100), 2))
		tx.measure()
	}
	require.False(t, tx.full, "the changes fit in")
	require.False(t, tx.CacheFull())
	announce(p, keys...)
	require.Less(t, e.keys, aheadLeast)
	require.False(t, tx.full)
	require.True(t, tx.CacheFull())
	commitAll(t, tx)
	require.Zero(t, tx.waitingBytes())
	require.False(t, tx.CacheFull())
	announce(p, keys...)
	require.Greater(t, e.keys, 500)
	announce(p)

	require.NoError(t, st.Put("one", "change", 3))
	commitAll(t, tx)
	require.Positive(t, tx.waitingBytes(), "other commits leave changes in memory")
}

// Where what was read is not used, or nothing had to be read, less is read ahead.
func TestPrefetchGivesUpWhereItIsOfNoUse(t *testing.T) {
	st, e := onDisk(t, 5000, Config{}, func(int) string { return "v" })
	p := st.Prefetcher(true)()
	round := func(i int) (keys []string) {
		for k := range 50 {
			keys = append(keys, fmt.Sprintf("key-%06d", 50*i+k))
		}
		return keys
	}
	asked := 0
	for i := range 2000 {
		if p.RowsWanted() > 0 {
			asked++
			announce(p, round(i%100)...)
		}
	}
	require.Less(t, asked, 20)
	require.Equal(t, asked, e.passes)
	p = st.Prefetcher(true)()
	announce(p, round(60)...)
	for _, key := range round(60) {
		_, _, _, err := st.Get(key)
		require.NoError(t, err)
	}
	require.Positive(t, p.RowsWanted(), "it was of use")
}

// TestNoPassWhileRowsAreInMemory: a pass that finds all rows in memory is the last one until look-ups ask the engine
// again, however few of all rows are in memory.
func TestNoPassWhileRowsAreInMemory(t *testing.T) {
	st, e := onDisk(t, 5000, Config{}, func(int) string { return "v" })
	p := st.Prefetcher(true)()
	get := func(from, to int) (keys []string) {
		for i := from; i < to; i++ {
			keys = append(keys, fmt.Sprintf("key-%06d", i))
			_, _, ok, err := st.Get(keys[len(keys)-1])
			require.NoError(t, err)
			require.True(t, ok)
		}
		return keys
	}
	require.Positive(t, p.RowsWanted())
	announce(p, get(0, 500)...)
	require.Zero(t, e.passes)
	for range 1000 {
		require.Zero(t, p.RowsWanted())
	}
	get(500, 501) // a miss now and then is no reason
	for range 1000 {
		require.Zero(t, p.RowsWanted())
	}
	get(1000, 1064)
	require.Positive(t, p.RowsWanted())
}

// An error of the engine, or a value that the serde refuses, is that of the look-up: absence is not made of it.
func TestPrefetchThatFailsLeavesTheLookupToItself(t *testing.T) {
	st, e := onDisk(t, 100, Config{}, func(i int) string { return fmt.Sprint("v", i) })
	e.broken = &engine.Failure{}
	p := st.Prefetcher(true)()
	announce(p, "key-000001", "key-000002", "key-000100")
	require.Equal(t, 1, e.passes)
	require.Zero(t, st.cache.rows.Len())
	value, _, ok, err := st.Get("key-000002")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "v2", value)

	b := e.NewBatch(0)
	require.NoError(t, b.Set(append(st.base.keyRows(), "key-000003"...), []byte("short")))
	require.NoError(t, b.Commit())
	e.broken = nil
	announce(p, "key-000001", "key-000003", "key-000004")
	_, _, _, err = st.Get("key-000003")
	require.ErrorContains(t, err, "decode value")
	for _, key := range []string{"key-000001", "key-000004"} {
		_, _, ok, err := st.Get(key)
		require.NoError(t, err)
		require.True(t, ok)
	}
}

// GetAll asks the engine in passes, as many as the cache needs, and hardly ever for one key.
func TestGetAllReadsTogether(t *testing.T) {
	value := func(i int) string { return strings.Repeat(fmt.Sprint("v", i), 50) }
	st, e := onDisk(t, 10_000, Config{CacheBytesMax: 2 << 20}, value)
	var keys []string
	for i := range 12_000 {
		keys = append(keys, fmt.Sprintf("key-%06d", (i*7919)%12_000))
	}
	i := 0
	for entry, err := range st.GetAll(keys) {
		require.NoError(t, err)
		for (i*7919)%12_000 >= 10_000 {
			i++ // is not there
		}
		require.Equal(t, keys[i], entry.Key)
		require.Equal(t, value((i*7919)%12_000), entry.Value)
		i++
	}
	require.Less(t, e.gets, len(keys)/20)
	require.Greater(t, e.passes, 3)
	for range st.GetAll(keys[:10]) {
		break
	}
	b := e.NewBatch(0)
	require.NoError(t, b.Set(append(st.base.keyRows(), "key-999999"...), []byte("short")))
	require.NoError(t, b.Commit())
	var failures []error
	for _, err := range st.GetAll([]string{"key-000001", "key-999999", "key-000002"}) {
		failures = append(failures, err)
	}
	require.Len(t, failures, 2)
	require.NoError(t, failures[0])
	require.ErrorContains(t, failures[1], "decode value")
}

// sessionsOnDisk returns a store with one session of each of so many keys, none of which is in memory.
func sessionsOnDisk(t *testing.T, keys int, config Config) *SessionStore[string, string] {
	t.Helper()
	config.Engine, config.Namespace, config.CheckpointCommits = memory.New(), Namespace(0), -1
	full := config
	full.CacheBytesMax = 0
	name := NewSession[string, string]("sessions")
	tx := NewTx(full)
	st, err := name.Open(tx)
	require.NoError(t, err)
	for i := range keys {
		require.NoError(t, st.Put(fmt.Sprintf("key-%06d", i), 1, 1, strings.Repeat("x", 100)))
	}
	commitAll(t, tx)
	require.NoError(t, tx.Close())
	st, err = name.Open(NewTx(config))
	require.NoError(t, err)
	return st
}

// announceSessions is announce for sessions, with records of the time 1.
func announceSessions(p Prefetcher, from, to int) {
	a := &Ahead{}
	for i := from; i < to; i++ {
		a.Keys, a.Timestamps = append(a.Keys, fmt.Appendf(nil, "key-%06d", i)), append(a.Timestamps, 1)
	}
	p.PrefetchRows(a)
}

// Sessions that find no memory ask for a checkpoint as other rows do.
func TestPrefetchOfSessionsAsksForACheckpoint(t *testing.T) {
	const most = 1 << 20
	st := sessionsOnDisk(t, 2000, Config{CacheBytesMax: most})
	tx, p := st.segments.base.tx, st.Prefetcher(10)()
	for i := 0; tx.used < most-most/(2*spareParts); i++ {
		require.NoError(t, st.Put(fmt.Sprintf("new-%06d", i), 1, 1, strings.Repeat("y", 100)))
		tx.measure()
	}
	require.False(t, tx.CacheFull())
	announceSessions(p, 0, 1000)
	require.False(t, tx.full)
	require.True(t, tx.CacheFull())
	require.Zero(t, p.RowsWanted(), "until then there is no memory")
	commitAll(t, tx)
	require.Zero(t, tx.waitingBytes())
	require.Positive(t, p.RowsWanted())
}

// A pass that lacks the sessions of a few keys has memory for them.
func TestFewMissingSessionsAreNoCrowd(t *testing.T) {
	st := sessionsOnDisk(t, 100, Config{})
	p := st.Prefetcher(10)()
	find := func(from, to int) {
		for i := from; i < to; i++ {
			found, err := st.Find(fmt.Sprintf("key-%06d", i), 0, 10)
			require.NoError(t, err)
			require.Len(t, found, 1)
		}
	}
	announceSessions(p, 0, 20)
	find(0, 20)
	require.Positive(t, p.RowsWanted())
	announceSessions(p, 0, 22)
	find(0, 22)
	require.Positive(t, p.RowsWanted())
}
