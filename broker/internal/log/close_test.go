package log

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/faultfs"
)

// transaction appends one of a producer, and its marker.
func transaction(t *testing.T, l *Log, id int64, sequence int32, commit bool) {
	t.Helper()
	p := batch.Producer{ID: id, Sequence: sequence, Transactional: true}
	appendDurable(t, l, makeBatch(t, p, rec{ts: 5000 + id, key: "k", value: fmt.Sprintf("of %d, %d", id, sequence)}))
	_, err := l.AppendMarker(Marker{ProducerID: id, Commit: commit})
	require.NoError(t, err)
	require.NoError(t, l.fsync())
}

// closings are logs about to be closed, each closed before: what the close replaces is there.
var closings = map[string]func(t *testing.T, b *bench) *Log{
	"appended to": func(t *testing.T, b *bench) *Log {
		l := b.reopen(closedOnce(t, b))
		transaction(t, l, 2, 2, false)
		appendDurable(t, l, plain(t, recs(9)...))
		return l
	},
	"trimmed alone": func(t *testing.T, b *bench) *Log { // the mark of the close before is void without an fsync
		l := b.reopen(closedOnce(t, b))
		_, err := l.TrimTo(3)
		require.NoError(t, err)
		return l
	},
	"rolled": func(t *testing.T, b *bench) *Log {
		l := b.reopen(closedOnce(t, b))
		transaction(t, l, 2, 2, false)
		l.mu.Lock()
		_, err := l.roll()
		l.mu.Unlock()
		require.NoError(t, err)
		transaction(t, l, 3, 0, false)
		return l
	},
	"appended to, and not synced": func(t *testing.T, b *bench) *Log {
		l := b.reopen(closedOnce(t, b))
		_, err := l.AppendNoSync(plain(t, recs(5)...), OriginClient, false)
		require.NoError(t, err)
		return l
	},
}

func closedOnce(t *testing.T, b *bench) *Log {
	l := b.open()
	appendDurable(t, l, plain(t, recs(6)...))
	transaction(t, l, 1, 0, true)
	transaction(t, l, 2, 0, false)
	transaction(t, l, 2, 1, true)
	return l
}

// view is what a reader sees of a log from offset 3 on, and what the log knows of its producers.
type view struct {
	end       int64
	values    map[int64]string
	aborted   []Aborted
	newest    TimeOffset
	producers []ProducerInfo
	open      []OpenTransaction
}

const viewedFrom = 3

func viewOf(t *testing.T, l *Log) view {
	t.Helper()
	v := view{end: l.End(), producers: l.Producers(), open: l.OpenTransactions()}
	v.values = values(t, l, ReadUncommitted, 1<<20)
	maps.DeleteFunc(v.values, func(offset int64, _ string) bool { return offset < viewedFrom })
	r, err := l.Read(viewedFrom, 1<<20, ReadCommitted)
	require.NoError(t, err)
	v.aborted = r.Aborted
	v.newest, _, err = l.MaxTimestamp()
	require.NoError(t, err)
	return v
}

// indexesIn returns the contents of the index files of a log.
func indexesIn(t *testing.T, fs vfs.FS) map[string]string {
	t.Helper()
	names, err := fs.List(closedDir)
	require.NoError(t, err)
	contents := map[string]string{}
	for _, name := range names {
		if slices.ContainsFunc([]string{indexSuffix, timeIndexSuffix, txnIndexSuffix}, func(suffix string) bool {
			return strings.HasSuffix(name, suffix)
		}) {
			content, err := readFile(fs, fs.PathJoin(closedDir, name))
			require.NoError(t, err)
			contents[name] = string(content)
		}
	}
	return contents
}

const closedDir = "/data/orders-0"

// markedClean tells whether the checkpoint says that the log was closed as it is, and where it ended then.
func markedClean(t *testing.T, fs vfs.FS) (end int64, clean bool) {
	t.Helper()
	cp, err := readCheckpoint(fs, closedDir)
	require.NoError(t, err)
	if cp.cleanSegment < 0 {
		return 0, false
	}
	info, err := fs.Stat(fs.PathJoin(closedDir, fileName(cp.cleanSegment, logSuffix)))
	return cp.synced, err == nil && info.Size() == cp.cleanSize
}

// TestPowerCutsOfAClose cuts the power before each change of a close, alone or with others, and loses some, all or
// nothing of what was not synced. The next open finds what was synced before; and where the log is marked as closed,
// its indexes are those of the whole close.
func TestPowerCutsOfAClose(t *testing.T) {
	for name, prepare := range closings {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, together %v", name, together), func(t *testing.T) {
				t.Parallel()
				cutPowerOfAClose(t, prepare, together)
			})
		}
	}
}

func cutPowerOfAClose(t *testing.T, prepare func(*testing.T, *bench) *Log, together bool) {
	mem := vfs.NewCrashableMem()
	rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
	var mu sync.Mutex
	closing := false
	var left []*vfs.MemFS
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if closing && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			for _, percent := range []int{0, 30, 50, 50, 70, 100} {
				left = append(left, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
			}
		}
		return nil
	}))
	b := newBench(t, fs, SyncGroup)
	b.config = Config{IndexBytes: 100}
	l := prepare(t, b)
	b.syncer.Close()
	synced, before := l.Durable(), indexesIn(t, mem)
	mu.Lock()
	closing = true
	mu.Unlock()
	if together {
		NewGathering(faultfs.Whole{FS: fs}.SyncAll, 100).Each(1, func(_ int, together *Together) {
			require.NoError(t, l.CloseTogether(together))
		})
	} else {
		require.NoError(t, l.Close())
	}
	mu.Lock()
	closing = false
	mu.Unlock()
	left = append(left, mem.CrashClone(vfs.CrashCloneCfg{}))
	_, clean := markedClean(t, left[len(left)-1])
	require.True(t, clean, "the close is over: nothing of it is lost")
	names, err := left[len(left)-1].List(closedDir)
	require.NoError(t, err)
	require.Contains(t, names, fileName(l.End(), producersSuffix))

	open := func(fs vfs.FS) view {
		after := newBench(t, fs, SyncGroup)
		after.config = b.config
		l := after.open()
		defer func() { require.NoError(t, l.Close()) }()
		return viewOf(t, l)
	}
	indexes := indexesIn(t, mem)
	want := open(left[len(left)-1])
	marked := 0 // by this close
	for i, fs := range left[:len(left)-1] {
		switch end, clean := markedClean(t, fs); {
		case clean && end == want.end:
			marked++
			require.Equal(t, indexes, indexesIn(t, fs), "cut %d of %d", i, len(left))
		case clean: // by the close before: all that came since is lost
			require.Equal(t, before, indexesIn(t, fs), "cut %d of %d", i, len(left))
		}
		got := open(fs)
		require.GreaterOrEqual(t, got.end, synced)
		if got.end == want.end {
			require.Equal(t, want, got, "cut %d of %d", i, len(left))
			continue
		}
		for offset, value := range got.values {
			require.Equal(t, want.values[offset], value)
		}
	}
	require.Positive(t, marked, "some are cut when the mark is written")
}

// What was appended between a close's fsync and its end is not on the disk: the log is not marked as closed.
func TestAnAppendDuringACloseLeavesNoMark(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.reopen(closedOnce(t, b))
	transaction(t, l, 2, 2, false)
	b.syncer.Close() // no fsync that the transaction has asked for comes later
	before, err := b.fs.List(closedDir)
	require.NoError(t, err)
	_, err = l.AppendNoSync(plain(t, recs(1)...), OriginClient, false)
	require.NoError(t, err)
	l.mu.Lock()
	err = l.closeCleanly(nil)
	l.mu.Unlock()
	require.NoError(t, err)
	_, clean := markedClean(t, b.fs)
	require.False(t, clean)
	after, err := b.fs.List(closedDir)
	require.NoError(t, err)
	require.ElementsMatch(t, before, after)
	require.NoError(t, l.Release())
}
