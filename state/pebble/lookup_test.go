package pebble_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/memory"
	"thalweg/state/pebble"
)

// A filter lies in the table that it speaks for, so no crash can separate them. After each crash the look-ups, which
// ask the filters, and a scan, which does not, must see the same rows.
func TestNoFalseAbsenceAfterACrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	fs := vfs.NewCrashableMem()
	e := open(t, fs)
	const keys = 600
	key := func(n int) []byte { return fmt.Appendf(nil, "key%04d", n) }
	for range 25 {
		for range 1 + r.IntN(20) {
			from := r.IntN(keys)
			require.NoError(t, putLong(e, from, min(from+1+r.IntN(60), keys)))
			gone := r.IntN(keys)
			b := e.NewBatch(0)
			require.NoError(t, b.Delete(key(gone)))
			require.NoError(t, b.DeleteRange(key(gone+5), key(gone+r.IntN(10))))
			require.NoError(t, b.Commit())
			_, found, err := e.Get(nil, key(gone)) // an iterator that is used again is behind
			require.NoError(t, err)
			require.False(t, found)
		}
		if r.IntN(3) == 0 {
			require.NoError(t, e.Flush())
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		require.NoError(t, e.Close())
		fs = after
		e = open(t, fs)
		rows := map[string]string{}
		it, err := e.Iterate(nil, nil)
		require.NoError(t, err)
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.Value()
			require.NoError(t, err)
			rows[string(it.Key())] = string(value)
		}
		require.NoError(t, it.Close())
		var all [][]byte
		for n := range keys {
			all = append(all, key(n))
			value, found, err := e.Get(nil, key(n))
			require.NoError(t, err)
			want, has := rows[string(key(n))]
			require.Equal(t, has, found, "key %d", n)
			require.Equal(t, want, string(value))
		}
		sorted := 0
		require.NoError(t, e.GetSorted(all, func(n int, value []byte) error {
			sorted++
			require.Equal(t, rows[string(key(n))], string(value))
			return nil
		}))
		require.Len(t, rows, sorted)
	}
	require.NoError(t, e.Close())
}

// putLong writes rows that fill memtables and files soon.
func putLong(e *pebble.Engine, from, to int) error {
	b := e.NewBatch(0)
	for n := from; n < to; n++ {
		value := strings.Repeat(fmt.Sprint(n, from), 60)
		if err := b.Set(fmt.Appendf(nil, "key%04d", n), []byte(value)); err != nil {
			return err
		}
	}
	return b.Commit()
}

// readsFS notes where tables are read.
type readsFS struct {
	vfs.FS
	mu    sync.Mutex
	reads map[string][][2]int64 // from and to, by file
}

func (fs *readsFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	return &readsFile{f, fs, name}, nil
}

type readsFile struct {
	vfs.File
	fs   *readsFS
	name string
}

func (f *readsFile) ReadAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	f.fs.reads[f.name] = append(f.fs.reads[f.name], [2]int64{at, at + int64(len(p))})
	f.fs.mu.Unlock()
	return f.File.ReadAt(p, at)
}

// taken are the reads since it was called before.
func (fs *readsFS) taken() map[string][][2]int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	reads := fs.reads
	fs.reads = map[string][][2]int64{}
	return reads
}

// dataBlocks counts the reads of data blocks.
func (fs *readsFS) dataBlocks(t *testing.T) (n int) {
	for name, at := range fs.taken() {
		f, err := fs.FS.Open(name)
		require.NoError(t, err)
		readable, err := sstable.NewSimpleReadable(f)
		require.NoError(t, err)
		r, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{})
		require.NoError(t, err)
		layout, err := r.Layout()
		require.NoError(t, err)
		require.NotEmpty(t, layout.Data)
		for _, read := range at {
			if slices.ContainsFunc(layout.Data, func(b block.HandleWithProperties) bool {
				return int64(b.Offset) < read[1] && read[0] < int64(b.Offset+b.Length)
			}) {
				n++
			}
		}
		require.NoError(t, r.Close())
	}
	return n
}

// A look-up of a key that does not exist reads no data block, but for one in a hundred in which a filter errs. All rows
// lie in the bottom level, and the block cache holds a fraction of them.
func TestAbsentKeysReadNoDataBlock(t *testing.T) {
	const rows, absent = 40_000, 2000
	key := func(n int) []byte { return fmt.Appendf(nil, "key%08d", n) }
	fs := &readsFS{FS: vfs.NewMem(), reads: map[string][][2]int64{}}
	options := pebble.Options{FS: fs, MemtableBytes: 8 << 20, Memory: memory.NewShare(memory.Engine, 1<<20)}
	e, err := pebble.Open("state", options)
	require.NoError(t, err)
	const parts = 4 // so many flushes bring a compaction
	for part := range parts {
		b := e.NewBatch(0)
		for n := part; n < rows; n += parts {
			require.NoError(t, b.Set(key(2*n), fmt.Appendf(nil, "%0100d", n)))
		}
		require.NoError(t, b.Commit())
		require.NoError(t, e.Flush())
	}
	require.Eventually(t, func() bool { return e.Metrics().ReadAmplification == 1 }, time.Minute, time.Millisecond)
	require.NoError(t, e.Close())
	e, err = pebble.Open("state", options) // a restart loses nothing of the filters
	require.NoError(t, err)
	ways := map[string]func(keys [][]byte) error{
		"single": func(keys [][]byte) error {
			for _, key := range keys {
				if _, found, err := e.Get(nil, key); err != nil || found {
					return fmt.Errorf("%q: %v %w", key, found, err)
				}
			}
			return nil
		},
		"sorted": func(keys [][]byte) error {
			return e.GetSorted(keys, func(int, []byte) error { return fmt.Errorf("found") })
		},
		"snapshot": func(keys [][]byte) error {
			s, err := e.Snapshot()
			if err != nil {
				return err
			}
			defer s.Close()
			for _, key := range keys {
				if _, found, err := s.Get(nil, key); err != nil || found {
					return fmt.Errorf("%q: %v %w", key, found, err)
				}
			}
			return nil
		},
	}
	for name, way := range ways {
		var keys [][]byte
		for n := range absent {
			keys = append(keys, key(2*n*(rows/absent)+1))
		}
		fs.taken()
		before := e.Metrics()
		require.NoError(t, way(keys))
		require.Less(t, fs.dataBlocks(t), absent*3/100, name)
		require.GreaterOrEqual(t, e.Metrics().FilterHits-before.FilterHits, int64(absent*97/100), name)
	}
	fs.taken()
	for n := range absent { // what is there is read: the test can see it
		_, found, err := e.Get(nil, key(2*n*(rows/absent)))
		require.NoError(t, err)
		require.True(t, found)
	}
	require.Greater(t, fs.dataBlocks(t), absent/10)
	require.NoError(t, e.Close())
}

// A look-up's iterator does not keep files of an older tree: they are gone after a compaction although nobody looks up
// again.
func TestIdleLookupsKeepNoFiles(t *testing.T) {
	fs := vfs.NewMem()
	e := open(t, fs)
	require.NoError(t, put(e, 0, 20_000))
	require.NoError(t, e.Flush())
	before := tables(t, fs)
	require.NotEmpty(t, before)
	b := e.NewBatch(0)
	require.NoError(t, b.DeleteRange([]byte("key"), []byte("kez")))
	require.NoError(t, b.Commit())
	_, found, err := e.Get(nil, []byte("key000100"))
	require.NoError(t, err)
	require.False(t, found)
	require.NoError(t, e.Flush())
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(tables(t, fs), func(name string) bool { return slices.Contains(before, name) })
	}, time.Minute, 5*time.Millisecond)
	require.NoError(t, e.Close())
}

func tables(t *testing.T, fs vfs.FS) (names []string) {
	all, err := fs.List("state")
	require.NoError(t, err)
	for _, name := range all {
		if strings.HasSuffix(name, ".sst") {
			names = append(names, name)
		}
	}
	return names
}

// Look-ups beside commits see every commit that has returned.
func TestLookupsSeeCommits(t *testing.T) {
	e := open(t, vfs.NewMem())
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			key := fmt.Appendf(nil, "worker%d", worker)
			for n := range 300 {
				b := e.NewBatch(0)
				if err := b.Set(key, fmt.Append(nil, n)); err != nil {
					t.Error(err)
				}
				if err := b.Commit(); err != nil {
					t.Error(err)
				}
				for range 3 {
					value, found, err := e.Get(nil, key)
					if want := fmt.Sprint(n); err != nil || !found || string(value) != want {
						t.Errorf("worker %d: got %q %v %v, want %s", worker, value, found, err, want)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, e.Close())
}
