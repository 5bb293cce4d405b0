package log

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// What is counted is what a read returns, at any moment and for any reader.
func TestMeasureAgainstReads(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 6))
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 3000, IndexBytes: 300, Compact: true, MinCleanable: 0.01}
	l := b.open()
	type reader struct {
		meter  Meter
		offset int64
		iso    Isolation
	}
	var readers []*reader
	sequence, open := int32(0), false
	for step := range 400 {
		p := batch.Producer{ID: 1, Sequence: sequence, Transactional: true}
		switch rng.IntN(8) {
		case 0:
			if open {
				a, err := l.AppendMarker(Marker{ProducerID: 1, Commit: rng.IntN(2) == 0})
				require.NoError(t, err)
				require.NoError(t, l.WaitDurable(t.Context(), a.LastOffset))
				open = false
			}
		case 1:
			require.NoError(t, upkeepOf(l))
		case 2, 3:
			n := 1 + rng.IntN(3)
			appendDurable(t, l, makeBatch(t, p, recs(n)...))
			sequence, open = sequence+int32(n), true
		default:
			appendDurable(t, l, plain(t, recs(1+rng.IntN(20))...))
		}
		if step%20 == 0 {
			readers = append(readers, &reader{offset: rng.Int64N(l.End() + 1), iso: Isolation(rng.IntN(2))})
		}
		for _, r := range readers {
			bytes, done := l.Measure(&r.meter, r.offset, 1<<30, r.iso)
			if r.offset >= l.bound(r.iso) {
				require.Zero(t, bytes)
				continue
			}
			got, size, err := l.readFile(r.offset, l.bound(r.iso), 1<<30)
			require.NoError(t, err)
			require.Equal(t, size, bytes, "offset %d of %d", r.offset, l.End())
			rest := size > 0 && endOf(got[0]) < l.bound(r.iso)
			require.True(t, done || !rest, "offset %d: the rest lies in another segment", r.offset)
		}
	}
	require.NoError(t, l.Close())
}

// hookedFile calls a function before each read.
type hookedFile struct {
	vfs.File
	hook func()
}

func (f hookedFile) ReadAt(p []byte, at int64) (int, error) {
	f.hook()
	return f.File.ReadAt(p, at)
}

// replacedInReads returns a log of which the second segment is replaced, as compaction does, while the first is read.
func replacedInReads(t *testing.T) (l *Log, second *segment) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 200}
	l = b.open()
	size := 0
	for i := range 8 {
		ts := int64(1000 * (i + 1))
		raw := plain(t, rec{ts: ts, value: "v"}, rec{ts: ts, value: "v"})
		appendDurable(t, l, raw)
		size = len(raw)
	}
	segments := *l.segments.Load()
	require.Greater(t, len(segments), 2)
	first, second := segments[0], segments[1]
	first.sparse.Store(true)
	first.size.Add(int64(-size)) // as if compaction had taken its last batch out
	first.file.opened = hookedFile{first.file.opened, func() {
		if second.dead {
			return
		}
		fresh, _, err := openSegment(l.options.Files, l.options.FS, l.options.Dir, second.base)
		require.NoError(t, err)
		fresh.next.Store(second.next.Load())
		fresh.sealed.Store(true)
		require.NoError(t, fresh.acquireIndex(t, l))
		replaced := slices.Clone(*l.segments.Load())
		replaced[1] = fresh
		l.segments.Store(&replaced)
		require.NoError(t, second.close())
	}}
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l, second
}

// acquireIndex loads the segment's index.
func (s *segment) acquireIndex(t *testing.T, l *Log) error {
	require.True(t, s.acquire())
	defer s.release()
	return s.loadIndex(l.config.Load().IndexBytes)
}

// A read, or a look-up by time, that comes to a segment just when compaction has replaced it finds the other.
func TestReadsWhileASegmentIsReplaced(t *testing.T) {
	t.Run("read", func(t *testing.T) {
		l, second := replacedInReads(t)
		_, n, err := l.readFile(second.base-2, l.HighWatermark(), 1000)
		require.NoError(t, err)
		require.Positive(t, n)
		require.True(t, second.dead)
	})
	t.Run("offset for a time", func(t *testing.T) {
		l, second := replacedInReads(t)
		newest, at := second.index.newest()
		(*l.segments.Load())[0].index.maxTimestamp = newest // as compaction leaves it, when it takes the newest record out
		found, ok, err := l.OffsetForTime(newest)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, at-1, found.Offset, "the first of its batch")
		require.True(t, second.dead)
	})
	t.Run("largest timestamp", func(t *testing.T) {
		l, second := replacedInReads(t)
		newest, at := second.index.newest()
		l.start.Store(1)
		for _, s := range (*l.segments.Load())[:2] {
			s.index.maxTimestampOffset = 0 // below the start: the segment has to be read
		}
		list := *l.segments.Load()
		last := slices.Clone(list[:2]) // the second has the newest
		l.segments.Store(&last)
		found, ok, err := l.MaxTimestamp()
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, [2]int64{newest, at - 1}, [2]int64{found.Timestamp, found.Offset})
		require.True(t, second.dead)
	})
}

// A log that is being closed says so, and never that there is nothing.
func TestReadsWhileTheLogIsClosed(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config, b.memory, b.alone = Config{SegmentBytes: 200, TailBytes: 1}, NewMemory(1), true
	l := b.open()
	for range 8 {
		appendDurable(t, l, plain(t, recs(2)...))
	}
	last := l.active()
	last.file.opened = closingFile{last.file.opened, func() {
		_, n, err := l.readFile(0, l.HighWatermark(), 1000)
		require.Zero(t, n)
		isKafka(t, kerr.KafkaStorageError, err)
	}}
	require.NoError(t, l.Close())
}

// closingFile calls a function before it is closed.
type closingFile struct {
	vfs.File
	hook func()
}

func (f closingFile) Close() error {
	f.hook()
	return f.File.Close()
}
