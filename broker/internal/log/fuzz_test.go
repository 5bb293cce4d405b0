package log

import (
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

// FuzzFormats checks that what the decoders of the small files accept is what the encoders write.
func FuzzFormats(f *testing.F) {
	p := newProducer(7)
	p.append(mustParse(f, makeBatch(f, batch.Producer{ID: 7, Epoch: 1, Sequence: 4}, recs(2)...)), 3, 4, 5)
	f.Add(producers{7: p}.encode(9))
	f.Add(encodeAborted([]abortedTxn{{1, 2, 3, 4}, {2, 1, 9, 10}}))
	f.Fuzz(func(t *testing.T, src []byte) {
		if ps, err := decodeProducers(src, 9); err == nil {
			require.Equal(t, len(ps), len(ps.sorted()))
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
		if len(src) >= checkpointBytes {
			decodeCheckpoint(src)
		}
	})
}
