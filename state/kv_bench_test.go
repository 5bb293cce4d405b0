package state

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/invariant"
	"thalweg/state/pebble"
)

// pebbleEngine opens a Pebble engine in a temporary directory.
func pebbleEngine(tb testing.TB) *pebble.Engine {
	tb.Helper()
	e, err := pebble.Open(tb.TempDir(), pebble.Options{FS: vfs.Default})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = e.Close() })
	return e
}

// cpuTime reports the processor time that the benchmark uses from here on, which a busy machine distorts less than the
// wall's.
func cpuTime(b *testing.B, perOp float64) func() {
	now := func() float64 {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return float64(u.Utime.Nano() + u.Stime.Nano())
	}
	start := now()
	return func() { b.ReportMetric((now()-start)/float64(b.N)/perOp, "cpu-ns/op") }
}

// stream of keys, as an input would bring them: consecutive in memory.
func keyStream(keys int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	stream := make([]string, 1<<20)
	for i := range stream {
		stream[i] = fmt.Sprintf("key-%012d", r.IntN(keys))
	}
	return stream
}

func count(st *KVStore[string, int64], key string, timestamp int64) error {
	r, err := st.Find(key)
	if err != nil {
		return err
	}
	n, at, _, err := st.Value(r)
	if err != nil {
		return err
	}
	return st.Set(r, n+1, max(at, timestamp))
}

func drainNothing(Store, []byte, []byte, int64) error { return nil }

// BenchmarkCount is get, +1, put of a 16-byte key with a commit every 100,000 updates, as an aggregate makes them.
func BenchmarkCount(b *testing.B) {
	for _, keys := range []int{10_000, 100_000, 1_000_000} {
		stream := keyStream(keys)
		for _, listen := range []bool{false, true} {
			for _, disk := range []bool{false, true} {
				b.Run(fmt.Sprintf("keys=%d/listen=%v/pebble=%v", keys, listen, disk), func(b *testing.B) {
					c := Config{Namespace: Namespace(0)}
					if disk {
						c.Engine = pebbleEngine(b)
					}
					tx := NewTx(c)
					st, err := NewKV[string, int64]("counts").Open(tx)
					require.NoError(b, err)
					if listen {
						st.OnFlush(1, true, func(*Flushed[string, int64]) error { return nil })
					}
					benchCount(b, tx, st, stream)
				})
			}
		}
	}
}

func benchCount(b *testing.B, tx *Tx, st *KVStore[string, int64], stream []string) {
	for _, key := range stream {
		require.NoError(b, count(st, key, 1))
	}
	commit := func() {
		require.NoError(b, tx.Flush())
		require.NoError(b, tx.Drain(drainNothing))
		require.NoError(b, tx.Commit(nil))
	}
	commit()
	require.NoError(b, tx.Checkpoint())
	b.ReportAllocs()
	b.ResetTimer()
	defer cpuTime(b, 1)()
	for i := range b.N {
		if err := count(st, stream[i&(1<<20-1)], int64(i)); err != nil {
			b.Fatal(err)
		}
		if i%100_000 == 99_999 {
			commit()
		}
	}
}

// BenchmarkCountHot is the update alone.
func BenchmarkCountHot(b *testing.B) {
	for _, keys := range []int{10_000, 1_000_000} {
		stream := keyStream(keys)
		tx := NewTx(Config{})
		st, err := NewKV[string, int64]("counts").Open(tx)
		require.NoError(b, err)
		for _, key := range stream {
			require.NoError(b, count(st, key, 1))
		}
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			defer cpuTime(b, 1)()
			for i := range b.N {
				_ = count(st, stream[i&(1<<20-1)], int64(i))
			}
		})
	}
}

// BenchmarkRestore restores a million rows of 12-byte keys and 100-byte values into a Pebble engine.
func BenchmarkRestore(b *testing.B) {
	const rows = 1_000_000
	keys := make([][]byte, rows)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "uniq-%07d", i*7_368_787%rows)
	}
	value := make([]byte, 100)
	defer cpuTime(b, rows)()
	for range b.N {
		tx := NewTx(Config{Engine: pebbleEngine(b), Namespace: Namespace(0)})
		require.NoError(b, NewKV[string, string]("rows").Prepare(tx))
		for i, key := range keys {
			if err := tx.Restore("rows", key, value, int64(i)); err != nil {
				b.Fatal(err)
			}
			if i%5000 == 4999 && tx.RestoringBytes() >= 16<<20 {
				require.NoError(b, tx.RestoreDone(func(string) int64 { return int64(i) }))
			}
		}
		require.NoError(b, tx.RestoreDone(nil))
	}
}

// BenchmarkWindowCount counts per key and tumbling window of 10 s: nearly every record opens a window of its own.
func BenchmarkWindowCount(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 4))
	keys := make([]string, 1<<18)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%06d", r.IntN(100_000))
	}
	tx := NewTx(Config{Engine: pebbleEngine(b), Namespace: Namespace(0)})
	st, err := NewWindowed[string, int64]("windows").Retain(15e9).Open(tx)
	require.NoError(b, err)
	st.OnFlush(1, false, func(*Flushed[string, int64]) error { return nil })
	b.ReportAllocs()
	b.ResetTimer()
	defer cpuTime(b, 1)()
	for i := range b.N {
		now := int64(i)
		start := now / 10_000 * 10_000
		ref, err := st.Find(keys[i&(1<<18-1)], start)
		if err != nil {
			b.Fatal(err)
		}
		n, _, _, _ := st.Value(ref)
		_ = st.Set(ref, n+1, now)
		if i%20_000 == 19_999 {
			st.Expire(now - 15_000)
			require.NoError(b, tx.Flush())
			require.NoError(b, tx.Drain(drainNothing))
			require.NoError(b, tx.Commit(nil))
		}
	}
}

// TestCountAllocatesNothing holds the hot path to its promise.
func TestCountAllocatesNothing(t *testing.T) {
	if invariant.Enabled {
		t.Skip("the checks allocate")
	}
	stream := keyStream(1000)[:4096]
	tx := NewTx(Config{})
	st, err := NewKV[string, int64]("counts").Open(tx)
	require.NoError(t, err)
	st.OnFlush(1, true, func(*Flushed[string, int64]) error { return nil })
	round := func() {
		for i, key := range stream {
			if err := count(st, key, int64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if tx.Flush() != nil || tx.Drain(drainNothing) != nil || tx.Commit(nil) != nil {
			t.Fatal("commit failed")
		}
	}
	round()
	round()
	perRound := testing.AllocsPerRun(20, round)
	require.Less(t, perRound, 24.0, "4096 updates and a commit: the commit allocates a little, the updates nothing")
}
