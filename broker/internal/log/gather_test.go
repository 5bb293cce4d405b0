package log

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
)

// A log that nobody has touched since it was opened is closed without a write.
func TestClosingAnUnchangedLogWritesNothing(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	b := newBench(t, fs, SyncGroup)
	l := b.open()
	appendDurable(t, l, plain(t, recs(3)...))
	for range 3 {
		l = b.reopen(l)
		require.Len(t, values(t, l, ReadUncommitted, 100), 3)
	}
	writes := &faultfs.Fault{Kind: faultfs.Writes} // it counts, and fails nothing
	fs.Fail(writes)
	require.NoError(t, l.Close())
	require.Zero(t, writes.Hits.Load())
	l = b.open()
	appendDurable(t, l, plain(t, recs(1)...))
	l = b.reopen(l)
	require.Equal(t, int64(4), l.End())
	require.NoError(t, l.Close())
}

// A close makes no file again that would be the same.
func TestACloseWritesWhatHasChanged(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	made := func() *faultfs.Fault { // it counts, and fails nothing
		f := &faultfs.Fault{Kind: func(kind errorfs.OpKind) bool { return kind == errorfs.OpCreate }}
		fs.Fail(f)
		return f
	}
	files := made()
	b := newBench(t, fs, SyncGroup)
	l := b.open()
	appendDurable(t, l, plain(t, recs(3)...))
	l = b.reopen(l)
	require.EqualValues(t, 4, files.Hits.Load(), "the indexes, and the snapshot of producers")
	appendDurable(t, l, plain(t, recs(1)...))
	files = made()
	require.NoError(t, l.Close())
	require.EqualValues(t, 1, files.Hits.Load(), "the snapshot")
	l = b.open()
	require.Equal(t, int64(4), l.End())
	require.NoError(t, l.Close())
}

// Many logs are opened and closed by a few calls that fsync everything, and are as durable as if each were synced.
func TestManyLogsAreOpenedAndClosedTogether(t *testing.T) {
	const n = 50
	mem := vfs.NewCrashableMem()
	require.NoError(t, mem.MkdirAll("/data", 0o755))
	whole := faultfs.Whole{FS: mem}
	var calls atomic.Int64
	gathering := func(fail bool) *Gathering {
		return NewGathering(func() error {
			if fail {
				return errors.New("no such call")
			}
			calls.Add(1)
			return whole.SyncAll()
		}, 4*n)
	}
	syncer := NewSyncer(SyncerOptions{})
	b := &bench{t: t}
	files := NewFiles(0)
	for round, fail := range []bool{false, true, false} {
		g := gathering(fail)
		logs := make([]*Log, n)
		calls.Store(0)
		g.Each(n, func(i int, together *Together) {
			l, err := Open(Options{
				FS: mem, Dir: mem.PathJoin("/data", string(rune('A'+i))), Topic: "t", Partition: int32(i),
				Now: b.clock, Syncer: syncer, Files: files, Together: together,
			})
			if err != nil {
				t.Error(err)
				return
			}
			logs[i] = l
		})
		require.False(t, t.Failed())
		if round == 0 {
			require.EqualValues(t, 2, calls.Load(), "for what is new, and for the checkpoints")
		}
		for _, l := range logs {
			require.EqualValues(t, 2*round, l.End())
			_, err := l.AppendNoSync(plain(t, recs(2)...), OriginClient, false)
			require.NoError(t, err)
		}
		calls.Store(0)
		g.Each(n, func(i int, together *Together) {
			if err := logs[i].CloseTogether(together); err != nil {
				t.Error(err)
			}
		})
		require.False(t, t.Failed())
		if !fail {
			require.EqualValues(t, 4, calls.Load(), "for batches, contents, indexes, and the rest; not for each log")
		}
		left := mem.CrashClone(vfs.CrashCloneCfg{}) // nothing but what was synced
		mem = left
		whole.FS = left
	}
}

// At most so many logs work at a time, however many are in progress.
func TestLogsTakeTurns(t *testing.T) {
	const n = 5 * gatheringTurns
	var working, most, rounds atomic.Int64
	g := NewGathering(func() error {
		rounds.Add(1)
		return nil
	}, 4*n)
	g.Each(n, func(_ int, together *Together) {
		for range 3 {
			for now, before := working.Add(1), most.Load(); now > before; before = most.Load() {
				most.CompareAndSwap(before, now)
			}
			runtime.Gosched()
			working.Add(-1)
			if err := together.fsync(func() error { return errors.New("by itself") }); err != nil {
				t.Error(err)
			}
		}
	})
	require.LessOrEqual(t, most.Load(), int64(gatheringTurns))
	require.EqualValues(t, 3, rounds.Load(), "all logs in each")
}
