package log

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

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
			require.NoError(t, l.Maintain())
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

// A read that comes to a segment just when compaction has replaced it by another finds the other.
func TestReadsWhileASegmentIsReplaced(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 200}
	l := b.open()
	for range 8 {
		appendDurable(t, l, plain(t, recs(2)...))
	}
	segments := *l.segments.Load()
	require.Greater(t, len(segments), 2)
	first, second := segments[0], segments[1]
	lastSize := len(plain(t, recs(2)...))
	first.sparse.Store(true)
	first.size.Add(int64(-lastSize)) // as if compaction had taken its last batch out
	first.file = hookedFile{first.file, func() {
		if second.dead {
			return
		}
		fresh, _, err := openSegment(l.options.FS, l.options.Dir, second.base)
		require.NoError(t, err)
		fresh.next.Store(second.next.Load())
		fresh.sealed.Store(true)
		replaced := slices.Clone(segments)
		replaced[1] = fresh
		l.segments.Store(&replaced)
		require.NoError(t, second.close())
	}}
	_, n, err := l.readFile(second.base-2, l.HighWatermark(), 1000)
	require.NoError(t, err)
	require.Positive(t, n)
	require.NoError(t, l.Close())
}
