package batch

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Rewriter makes batches with fewer records, as compaction needs them. It is used by one goroutine at a time.
type Rewriter struct {
	decoder Decoder
	encoder encoder
	plain   []byte
	packed  []byte
}

// Rewrite returns b without the records that keep refuses. Offsets, sequences, timestamps and the range of offsets stay
// as they are; so do the records' bytes. A horizon that is not negative is stamped as the batch's delete horizon.
// kept is how many records are left, which may be none. The slice belongs to the Rewriter and is valid until its next
// use.
func (w *Rewriter) Rewrite(b Batch, horizon int64, keep func(r *Record) bool) (raw []byte, kept int, err error) {
	it, err := b.Records(&w.decoder)
	if err != nil {
		return nil, 0, err
	}
	base := b.BaseTimestamp()
	if horizon >= 0 {
		base = horizon
	}
	raw = append(w.plain[:0], b.raw[:HeaderBytes]...)
	maxTimestamp := int64(-1)
	var r Record
	for it.Next(&r) {
		if !keep(&r) {
			continue
		}
		kept++
		maxTimestamp = max(maxTimestamp, r.Timestamp)
		timestamp := r.Timestamp
		if b.IsLogAppendTime() {
			timestamp = base // the header has the one that counts
		}
		raw = appendRecord(raw, timestamp-base, r.Offset-b.BaseOffset(), &r)
	}
	if it.Err() != nil {
		return nil, 0, it.Err()
	}
	w.plain = raw
	attributes := b.attributes() &^ attrCompression
	if horizon >= 0 {
		attributes |= attrDeleteHorizon
	}
	if c := b.Compression(); c != None && kept > 0 {
		w.packed, err = w.encoder.compress(c, append(w.packed[:0], raw[:HeaderBytes]...), raw[HeaderBytes:])
		if err != nil {
			return nil, 0, fmt.Errorf("batch: rewrite: %w", err)
		}
		if len(w.packed) < len(raw) {
			raw, attributes = w.packed, attributes|uint16(c)
		}
	}
	if b.IsLogAppendTime() || kept == 0 {
		maxTimestamp = b.MaxTimestamp()
	}
	putInt32(raw[posLength:], int32(len(raw)-lengthOverhead))
	binary.BigEndian.PutUint16(raw[posAttributes:], attributes)
	putInt64(raw[posBaseTimestamp:], base)
	putInt64(raw[posMaxTimestamp:], maxTimestamp)
	putInt32(raw[posCount:], int32(kept))
	sealChecksum(raw)
	return raw, kept, nil
}

// appendRecord encodes a decoded record again, under other deltas.
func appendRecord(raw []byte, timestampDelta, offsetDelta int64, r *Record) []byte {
	ts, delta, headers := zigzag(timestampDelta), zigzag(offsetDelta), zigzag(int64(r.nHeader))
	size := 1 + uvarintSize(ts) + uvarintSize(delta) + fieldSize(r.Key) + fieldSize(r.Value) + uvarintSize(headers) +
		len(r.headers)
	i := len(raw)
	raw = slices.Grow(raw, size+5)
	dst := raw[:i+uvarintSize(zigzag(int64(size)))+size]
	i = putUvarint(dst, i, zigzag(int64(size)))
	dst[i] = 0
	i = putUvarint(dst, i+1, ts)
	i = putUvarint(dst, i, delta)
	i = putField(dst, i, r.Key)
	i = putField(dst, i, r.Value)
	i = putUvarint(dst, i, headers)
	copy(dst[i:], r.headers)
	return dst
}
