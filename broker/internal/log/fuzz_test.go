package log

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
)

// FuzzOpen gives Open arbitrary files. It may refuse them; what it accepts must be readable to the end, in order, and
// appendable.
func FuzzOpen(f *testing.F) {
	seedLog := func(raws ...[]byte) (log []byte) {
		offset := int64(0)
		for _, raw := range raws {
			raw = slices.Clone(raw)
			batch.SetBaseOffset(raw, offset, 0)
			offset = mustParse(f, raw).LastOffset() + 1
			log = append(log, raw...)
		}
		return log
	}
	txn := makeBatch(f, batch.Producer{ID: 1, Transactional: true}, recs(2)...)
	marker := batch.AppendControl(nil, batch.Control{ProducerID: 1})
	good := seedLog(plain(f, recs(3)...), txn, marker)
	f.Add(good, []byte{}, producers{}.encode(0), encodeAborted(nil))
	f.Add(good[:len(good)-5], []byte("TWCP"), producers{1: newProducer(1)}.encode(5),
		encodeAborted([]abortedTxn{{1, 3, 5, 6}}))
	f.Fuzz(func(t *testing.T, log, checkpoint, snapshot, aborted []byte) {
		b := newBench(t, vfs.NewMem(), SyncGroup)
		dir := b.options().Dir
		require.NoError(t, b.fs.MkdirAll(dir, 0o755))
		for name, content := range map[string][]byte{
			fileName(0, logSuffix): log, checkpointName: checkpoint, fileName(5, producersSuffix): snapshot,
			fileName(0, txnIndexSuffix): aborted, fileName(0, indexSuffix): aborted,
		} {
			require.NoError(t, writeFile(b.fs, b.fs.PathJoin(dir, name), slices.Clone(content), false))
		}
		l, err := Open(b.options())
		if err != nil {
			return
		}
		before := len(values(t, l, ReadUncommitted, 500))
		values(t, l, ReadCommitted, 500)
		appendDurable(t, l, plain(t, recs(1)...))
		l = b.reopen(l)
		require.Len(t, values(t, l, ReadUncommitted, 500), before+1)
		require.NoError(t, l.Close())
	})
}

// indexedLog is a log whose first segment is sealed and has indexes.
type indexedLog struct {
	fs             *vfs.MemFS
	offsets, times []byte           // of the indexes
	all, committed map[int64]string // the readable records
}

// newIndexedLog writes one. A transaction in the first segment stays open, unless the log is compacted.
func newIndexedLog(t testing.TB, compacted bool) *indexedLog {
	x := &indexedLog{fs: vfs.NewMem()}
	l := x.open(t, x.fs, compacted)
	for i := range 120 {
		key := fmt.Sprintf("k%d", i)
		if i%3 == 0 {
			key = "k"
		}
		raw := plain(t, rec{ts: int64(i), key: key, value: fmt.Sprintf("v%d", i)})
		if i == 20 && !compacted {
			raw = makeBatch(t, batch.Producer{ID: 1, Transactional: true}, rec{ts: int64(i), key: "k", value: "open"})
		}
		appendDurable(t, l, raw)
	}
	require.NoError(t, l.Compact(nil))
	require.NoError(t, l.Close())
	l = x.open(t, x.fs, compacted)
	require.Greater(t, len(*l.segments.Load()), 1)
	first := (*l.segments.Load())[0]
	require.Equal(t, compacted, first.sparse.Load())
	x.all, x.committed = values(t, l, ReadUncommitted, 1), values(t, l, ReadCommitted, 1)
	require.Equal(t, compacted, len(x.all) == len(x.committed))
	require.NoError(t, l.Close())
	var err error
	x.offsets, err = readFile(x.fs, first.path(indexSuffix))
	require.NoError(t, err)
	x.times, err = readFile(x.fs, first.path(timeIndexSuffix))
	require.NoError(t, err)
	return x
}

func (x *indexedLog) open(t testing.TB, fs vfs.FS, compacted bool) *Log {
	b := newBench(t, fs, SyncGroup)
	b.config = Config{SegmentBytes: 3000, IndexBytes: 100, TailBytes: 1, Compact: compacted}
	b.memory = NewMemory(1)
	return b.open()
}

// FuzzIndex gives a sealed segment arbitrary indexes. Whatever they say, each record is read. A look-up by time may
// find a later record than it should, since nothing shows that a timestamp in an index is wrong.
func FuzzIndex(f *testing.F) {
	logs := map[bool]*indexedLog{false: newIndexedLog(f, false), true: newIndexedLog(f, true)}
	for _, compacted := range []bool{false, true} {
		x := logs[compacted]
		f.Add(compacted, x.offsets, x.times)
		f.Add(compacted, x.offsets[:8], x.times[:12])
		f.Add(compacted, x.offsets[8:], x.times[12:])
		f.Add(compacted, []byte{}, x.times)
		f.Add(compacted, x.offsets[:5], []byte{})
		f.Add(compacted, []byte{0, 0, 0xff, 0xfc, 0, 0, 0, 142}, x.times) // all that is readable lies before byte 142
		f.Add(compacted, []byte{0, 0, 0, 2, 0, 0, 0, 2}, x.times[:12])    // a batch that begins at byte 2
		for _, at := range []int{3, 7, 8 + 3, 8 + 7} {
			flipped := slices.Clone(x.offsets)
			flipped[at] ^= 1
			f.Add(compacted, flipped, x.times)
		}
	}
	f.Fuzz(func(t *testing.T, compacted bool, offsets, times []byte) {
		x, fs := logs[compacted], vfs.NewMem()
		ok, err := vfs.Clone(x.fs, fs, "/data", "/data")
		require.NoError(t, err)
		require.True(t, ok)
		dir := (&bench{fs: fs}).options().Dir
		require.NoError(t, writeFile(fs, fs.PathJoin(dir, fileName(0, indexSuffix)), offsets, false))
		require.NoError(t, writeFile(fs, fs.PathJoin(dir, fileName(0, timeIndexSuffix)), times, false))
		_, err = Verify(fs, dir, func(batch.Batch) error { return nil })
		require.NoError(t, err)
		l := x.open(t, fs, compacted)
		require.Equal(t, x.committed, values(t, l, ReadCommitted, 1))
		require.Equal(t, x.all, values(t, l, ReadUncommitted, 1))
		for ms := range int64(120) {
			found, ok, err := l.OffsetForTime(ms)
			require.NoError(t, err)
			require.True(t, !ok || found.Timestamp >= ms)
		}
		_, _, err = l.MaxTimestamp()
		require.NoError(t, err)
		require.NoError(t, l.Close())
	})
}

// FuzzFormats checks that what the decoders of the small files accept is what the encoders write, or is read back as
// the same.
func FuzzFormats(f *testing.F) {
	p := newProducer(7)
	p.append(mustParse(f, makeBatch(f, batch.Producer{ID: 7, Epoch: 1, Sequence: 4}, recs(2)...)), 3, 4, 5)
	f.Add(producers{7: p}.encode(9))
	f.Add(encodeAborted([]abortedTxn{{1, 2, 3, 4}, {2, 1, 9, 10}}))
	var a ages
	a.created.Store(1)
	a.appended.Store(2)
	f.Add(a.encode())
	f.Add((&checkpoint{synced: 1, sparse: 2, cleanSegment: -1, agesOf: 3}).encode(4))
	f.Fuzz(func(t *testing.T, src []byte) {
		if ps, err := decodeProducers(src, 9); err == nil {
			again, err := decodeProducers(ps.encode(9), 9)
			require.NoError(t, err)
			require.Equal(t, ps, again)
		}
		if txns, ok := decodeAborted(src); ok {
			require.Equal(t, src, encodeAborted(txns))
		}
		half := len(src) / 20 * 8
		if o, times, ok := decodeIndex(src[:half], src[half:], 1<<20); ok {
			x := index{offsets: o, times: times, maxTimestampOffset: -1}
			offsets, stamps := x.encode(0)
			require.Equal(t, src[:half], offsets)
			require.Equal(t, src[half:], stamps)
		}
		if created, appended, ok := decodeAges(src); ok {
			var a ages
			a.created.Store(created)
			a.appended.Store(appended)
			require.Equal(t, src, a.encode())
		}
		if cp, number, ok := decodeCheckpoint(src); ok {
			again, numbered, ok := decodeCheckpoint(cp.encode(number))
			require.True(t, ok)
			require.Equal(t, number, numbered)
			require.Equal(t, cp, again)
		}
	})
}
