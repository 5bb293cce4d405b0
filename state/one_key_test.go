package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

// growSession adds a moment to the session of a key, as an aggregation of sessions does.
func growSession(st *SessionStore[string, int64], key string, now, gap int64) error {
	met, err := st.Find(key, now-gap, now+gap)
	if err != nil {
		return err
	}
	start, sum := now, int64(1)
	for _, e := range met {
		start, sum = min(start, e.Start), sum+e.Value
	}
	for _, e := range met {
		if err := st.Remove(key, e.Start, e.End); err != nil {
			return err
		}
	}
	return st.Put(key, start, now, sum)
}

// BenchmarkSessionOneKey lets one session grow.
func BenchmarkSessionOneKey(b *testing.B) {
	for _, updates := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("commit=%d", updates), func(b *testing.B) {
			tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
			st, err := NewSession[string, int64]("sessions").Retain(24 * time.Hour).Open(tx)
			require.NoError(b, err)
			b.ReportAllocs()
			for i := range b.N {
				if err := growSession(st, "key", int64(i), 300_000); err != nil {
					b.Fatal(err)
				}
				if i%updates == updates-1 {
					require.NoError(b, tx.Drain(drainNothing))
					require.NoError(b, tx.Commit(nil))
				}
			}
		})
	}
}

// A search passes as many rows after ten thousand updates as after a hundred: of a session that grows, where the store
// has a listener and where not, where all of it is in memory and where not; and beside many sessions of the key.
func TestSessionOfOneKeyIsFoundAtOnce(t *testing.T) {
	for _, listens := range []bool{false, true} {
		for _, complete := range []bool{true, false} {
			for _, others := range []int64{0, 2000} {
				t.Run(fmt.Sprint(listens, complete, others), func(t *testing.T) {
					tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0), CheckpointCommits: 1})
					st, err := NewSession[string, int64]("sessions").Retain(24 * time.Hour).Open(tx)
					require.NoError(t, err)
					if listens {
						st.OnFlush(1, true, func(*Flushed[string, int64]) error { return nil })
					}
					for i := range others {
						require.NoError(t, st.Put("key", i*100, i*100+1, 1))
						require.NoError(t, st.Put("key", 600_000+i*100, 600_000+i*100+1, 1))
					}
					commitAll(t, tx)
					if !complete {
						for _, s := range st.segments.live {
							s.asTable.cache.evict(1 << 20)
							s.asTable.cache.complete = false
						}
					}
					const start, updates = 300_000, 10_000
					most := 0
					for i := range int64(updates) {
						before := st.segments.base.visited
						require.NoError(t, growSession(st, "key", start+i, 1000))
						most = max(most, st.segments.base.visited-before)
					}
					require.LessOrEqual(t, most, 200)
					value, ok, err := st.Get("key", start, start+updates-1)
					require.NoError(t, err)
					require.True(t, ok)
					require.Equal(t, int64(updates), value)
					if complete {
						require.Less(t, st.segments.live[0].asTable.cache.Len(), int(2*others+10), "what went left entries")
					}
					for _, s := range st.segments.live {
						require.Less(t, len(s.asTable.cache.images), 10)
					}
				})
			}
		}
	}
}

// A window is put, and its neighbors are read, without passing the other windows of the key.
func TestWindowOfOneKeyIsFoundAtOnce(t *testing.T) {
	for _, complete := range []bool{true, false} {
		t.Run(fmt.Sprint(complete), func(t *testing.T) {
			tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
			st, err := NewWindowed[string, int64]("windows").Retain(24 * time.Hour).Open(tx)
			require.NoError(t, err)
			for i := range int64(1000) {
				require.NoError(t, st.Put("key", i, i, i))
			}
			commitAll(t, tx)
			require.NoError(t, tx.Checkpoint())
			if !complete {
				st.segments.live[0].asTable.cache.evict(1 << 20)
				require.False(t, st.segments.live[0].asTable.cache.complete)
			}
			most := 0
			for i := int64(1000); i < 11_000; i++ {
				require.NoError(t, st.Put("key", i, i, i))
				before := st.segments.base.visited
				found := 0
				for _, err := range st.FetchReverse("key", i-10, i+1) {
					require.NoError(t, err)
					found++
				}
				require.Equal(t, 11, found)
				most = max(most, st.segments.base.visited-before)
			}
			require.LessOrEqual(t, most, 50)
		})
	}
}

// BenchmarkWindowOneKey puts a window of a key that has many, and reads those before it.
func BenchmarkWindowOneKey(b *testing.B) {
	for _, windows := range []int64{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(windows), func(b *testing.B) {
			tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
			st, err := NewWindowed[string, int64]("windows").Retain(24 * time.Hour).Open(tx)
			require.NoError(b, err)
			for i := range windows {
				require.NoError(b, st.Put("key", i, i, i))
			}
			b.ReportAllocs()
			now := windows
			for b.Loop() {
				if err := st.Put("key", now, now, now); err != nil {
					b.Fatal(err)
				}
				found := 0
				for _, err := range st.FetchReverse("key", now-10, now+1) {
					if err != nil {
						b.Fatal(err)
					}
					found++
				}
				if found != 11 {
					b.Fatal(found)
				}
				now++
			}
		})
	}
}

// What closes is found without passing what stays open, also between two commits, and while what was found is removed.
func TestWhatClosesIsFoundAtOnce(t *testing.T) {
	const rows, open = 5000, 1000
	tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
	sessions, err := NewSession[string, int64]("sessions").Retain(24 * time.Hour).Open(tx)
	require.NoError(t, err)
	windows, err := NewWindowed[string, int64]("windows").Retain(24 * time.Hour).Open(tx)
	require.NoError(t, err)
	most := 0
	for i := range int64(rows) {
		key := fmt.Sprint("key", i%7)
		require.NoError(t, sessions.Put(key, i, i, i))
		require.NoError(t, windows.Put(key, i, i, i))
		if i < open {
			continue
		}
		closed := i - open
		before := sessions.segments.base.visited + windows.segments.base.visited
		found := 0
		for e, err := range sessions.ByEnd(closed, closed) {
			require.NoError(t, err)
			require.Equal(t, closed, e.Value)
			require.NoError(t, sessions.Remove(e.Key, e.Start, e.End))
			found++
		}
		for e, err := range windows.ByTime(closed, closed) {
			require.NoError(t, err)
			require.Equal(t, closed, e.Value)
			found++
		}
		require.Equal(t, 2, found)
		most = max(most, sessions.segments.base.visited+windows.segments.base.visited-before)
	}
	require.LessOrEqual(t, most, 4)
	require.Less(t, sessions.segments.live[0].asTable.cache.Len(), open+2, "what is removed during a scan goes behind it")
}

// BenchmarkOneForeignKey moves one of many subscriptions that have a common beginning, and reads those beside it.
func BenchmarkOneForeignKey(b *testing.B) {
	for _, subscribers := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(subscribers), func(b *testing.B) {
			tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
			st, err := NewKV[string, int64]("subscriptions").Open(tx)
			require.NoError(b, err)
			key := func(i int) string { return fmt.Sprintf("foreign-key-%09d", i) }
			for i := range subscribers {
				require.NoError(b, st.Put(key(2*i), int64(i), 1))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				odd := 2*(i%subscribers) + 1
				if err := st.Put(key(odd), 1, 1); err != nil {
					b.Fatal(err)
				}
				n := 0
				for _, err := range st.RangeBytes([]byte(key(odd)), nil, false) {
					if err != nil {
						b.Fatal(err)
					}
					if n++; n == 10 {
						break
					}
				}
				if n == 0 {
					b.Fatal("the key is not found")
				}
				if err := st.Delete(key(odd), 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One of many subscriptions to a row is put, read and deleted without passing those that came and went before it.
func TestSubscriptionOfOneKeyIsFoundAtOnce(t *testing.T) {
	tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
	st, err := NewKV[string, int64]("subscriptions").Open(tx)
	require.NoError(t, err)
	require.NoError(t, st.Put("foreign-a", 1, 1))
	commitAll(t, tx)
	most := 0
	for i := range 5000 {
		key := fmt.Sprintf("foreign-b%09d", i)
		require.NoError(t, st.Put(key, 1, 1))
		before, found := st.base.visited, 0
		for _, err := range st.Prefix([]byte("foreign-")) {
			require.NoError(t, err)
			found++
		}
		require.Equal(t, 2, found)
		most = max(most, st.base.visited-before)
		require.NoError(t, st.Delete(key, 1))
	}
	require.LessOrEqual(t, most, 4)
	require.Less(t, st.cache.rows.Len(), 4)
}
