package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/state/pebble"
)

// changelogRow is a record of the changelog, which survives everything.
type changelogRow struct {
	store      string
	key, value []byte
	timestamp  int64
}

// TestCrashRestoresFromThePosition holds the law that the changelog is the write-ahead log: the power goes at random
// moments, and what the engine holds plus the changelog from its position is exactly the last commit.
func TestCrashRestoresFromThePosition(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 31))
	fs := vfs.NewCrashableMem()
	counts, windows := NewKV[string, int64]("counts"), NewWindowed[string, string]("windows").Retain(time.Minute)
	var e *pebble.Engine
	var tx *Tx
	var kv *KVStore[string, int64]
	var win *WindowStore[string, string]
	var log []changelogRow
	open := func() {
		var err error
		e, err = pebble.Open("state", pebble.Options{FS: fs, MemtableBytes: 32 << 10})
		require.NoError(t, err)
		tx = NewTx(Config{Engine: e, Namespace: Namespace(1), CheckpointCommits: 1 + r.IntN(4), CacheBytesMax: 200_000})
		kv, err = counts.Open(tx)
		require.NoError(t, err)
		win, err = windows.Open(tx)
		require.NoError(t, err)
	}
	restore := func() {
		for _, name := range []string{"counts", "windows"} {
			from, _, err := tx.Position(name)
			require.NoError(t, err)
			for _, row := range log[from:] {
				if row.store == name {
					require.NoError(t, tx.Restore(name, row.key, row.value, row.timestamp))
				}
			}
		}
		require.NoError(t, tx.RestoreDone(func(string) int64 { return int64(len(log)) }))
	}
	now, committed := map[string]int64{}, map[string]int64{}
	open()
	crashes, kept := 0, 0
	for step := range 1000 {
		switch n := r.IntN(100); {
		case n < 85:
			for range 30 {
				key := fmt.Sprintf("key-%d", r.IntN(3000))
				now[key]++
				require.NoError(t, kv.Put(key, now[key], int64(step)))
				require.NoError(t, win.Put(key, now[key]%50*1000, fmt.Sprint(now[key]), int64(step)))
			}
		case n < 98:
			require.NoError(t, tx.Drain(func(s Store, key, value []byte, timestamp int64) error {
				log = append(log, changelogRow{s.Name(), append([]byte{}, key...), append([]byte{}, value...), timestamp})
				return nil
			}))
			require.NoError(t, tx.Commit(func(string) int64 { return int64(len(log)) }))
			committed = maps.Clone(now)
		default:
			crashes++
			after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			require.NoError(t, e.Close())
			fs = after
			open()
			if at, _, err := tx.Position("counts"); err == nil && at > 0 {
				kept++
			}
			restore()
			now = maps.Clone(committed)
			compareCounts(t, kv, win, committed)
		}
	}
	require.Positive(t, crashes)
	require.Positive(t, kept, "some state must survive, or the test shows nothing")
	require.NoError(t, tx.Close())
	require.NoError(t, e.Close())
}

func compareCounts(t *testing.T, kv *KVStore[string, int64], win *WindowStore[string, string], want map[string]int64) {
	t.Helper()
	got := map[string]int64{}
	for e, err := range kv.All() {
		require.NoError(t, err)
		got[e.Key] = e.Value
	}
	require.True(t, maps.Equal(want, got), "%d keys, want %d", len(got), len(want))
	for key, n := range want {
		value, _, ok, err := win.Get(key, n%50*1000)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, fmt.Sprint(n), value)
	}
}
