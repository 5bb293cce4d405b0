package batch

import (
	"bytes"
	"fmt"
	"math"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Contents is what Inspect learns about the records of a batch.
type Contents struct {
	// MinTimestamp and MaxTimestamp are the smallest and the largest timestamp that the records carry themselves, in
	// milliseconds; -1 for a batch without records.
	MinTimestamp, MaxTimestamp int64
	// NullKeys says whether a record has no key.
	NullKeys bool
}

// RecordInfo is one record as Inspect shows it.
type RecordInfo struct {
	Index     int // in the batch, from 0
	Timestamp int64
	NullKey   bool
}

// Inspect walks all records and checks everything that a reader relies on: lengths, offset deltas, keys, values,
// headers, and that the header's number of records is right. It calls visit, unless that is nil, for each record in
// order. Compressed records are decompressed as a stream, whose memory does not depend on their size (a raw block of
// snappy excepted, which has no other form), and may have up to the decoder's limit of bytes.
//
// Timestamps are those that the records carry, whatever the batch's attributes say.
func (d *Decoder) Inspect(b Batch, visit func(RecordInfo)) (Contents, error) {
	w := inspection{visit: visit, base: b.BaseTimestamp(), last: -1, max: int64(b.LastOffsetDelta())}
	w.found.MinTimestamp, w.found.MaxTimestamp = -1, -1
	var err error
	if b.Compression() == None {
		err = w.plain(b)
	} else {
		err = d.inspectStream(&w, b)
	}
	return w.found, err
}

// InspectBytes is the memory beyond a few buffers that Inspect takes for a batch, as the batch says itself: a raw block
// of snappy, or a window of zstd. 0: no more.
func (b Batch) InspectBytes() int64 {
	src := b.payload()
	switch b.Compression() {
	case Snappy:
		if bytes.HasPrefix(src, []byte(xerialMagic)) {
			return 0
		}
		if n, err := s2.DecodedLen(src); err == nil {
			return int64(min(n, DecompressedBytesMax(len(src)))) // a larger one is refused
		}
	case Zstd:
		var h zstd.Header
		if h.Decode(src) == nil {
			window := h.WindowSize
			if h.SingleSegment {
				window = h.FrameContentSize
			}
			return int64(min(window, zstdWindowMax))
		}
	}
	return 0
}

// inspection is one walk over the records of a batch.
type inspection struct {
	visit     func(RecordInfo)
	found     Contents
	index     int
	base      int64 // timestamp that deltas count from
	last, max int64 // offset delta of the record before, and the largest that is allowed
}

func (w *inspection) record(timestampDelta, offsetDelta int64, nullKey bool) error {
	if offsetDelta <= w.last || offsetDelta > w.max {
		return fmt.Errorf("%w: record %d: offset delta %d after %d, in a batch of %d offsets",
			ErrCorrupt, w.index, offsetDelta, w.last, w.max+1)
	}
	ts := w.base + timestampDelta
	if w.index == 0 {
		w.found.MinTimestamp, w.found.MaxTimestamp = ts, ts
	}
	w.found.MinTimestamp, w.found.MaxTimestamp = min(w.found.MinTimestamp, ts), max(w.found.MaxTimestamp, ts)
	w.found.NullKeys = w.found.NullKeys || nullKey
	if w.visit != nil {
		w.visit(RecordInfo{Index: w.index, Timestamp: ts, NullKey: nullKey})
	}
	w.last = offsetDelta
	w.index++
	return nil
}

// plain inspects records that are not compressed, in place. It is what Iterator.Next does without the record, since
// each produced record passes here.
func (w *inspection) plain(b Batch) error {
	src, count := b.payload(), b.Count()
	found, last, at := Contents{math.MaxInt64, math.MinInt64, false}, int64(-1), 0
	for index := range count {
		size, i := varint(src, at)
		if i < 0 || size <= 0 || size > int64(len(src)-i) {
			return w.corrupt(index, "length")
		}
		record := src[at : i+int(size)] // so that no field reaches over the end
		ts, i := varint(record, i-at+1) // behind the attributes, which have no meaning yet
		delta, i := varint(record, i)
		if i < 0 || delta <= last || delta > w.max {
			return w.corrupt(index, "offset delta")
		}
		last = delta
		key, i := varint(record, i)
		if i, ok := skip(record, i, key); !ok {
			return w.corrupt(index, "key")
		} else if value, i := varint(record, i); true {
			if i, ok = skip(record, i, value); !ok {
				return w.corrupt(index, "value")
			}
			if i+1 != len(record) || record[i] != 0 { // there are headers
				if !headersFit(record, i) {
					return w.corrupt(index, "headers")
				}
			}
		}
		ts += w.base
		found.MinTimestamp, found.MaxTimestamp = min(found.MinTimestamp, ts), max(found.MaxTimestamp, ts)
		found.NullKeys = found.NullKeys || key < 0
		if w.visit != nil {
			w.visit(RecordInfo{Index: index, Timestamp: ts, NullKey: key < 0})
		}
		at += len(record)
	}
	if at != len(src) {
		return w.corrupt(count, "bytes after the last")
	}
	if count > 0 {
		w.found = found
	}
	return nil
}

func (w *inspection) corrupt(index int, what string) error {
	return fmt.Errorf("%w: record %d: %s", ErrCorrupt, index, what)
}

// skip passes over a field of size bytes, of which -1 is null. The position may be -1, for a size that was none.
func skip(src []byte, i int, size int64) (next int, ok bool) {
	if size == -1 {
		return i, i >= 0
	}
	return i + int(size), i >= 0 && size >= 0 && size <= int64(len(src)-i)
}

// headersFit tells whether the headers of a record begin at i and end where the record does.
func headersFit(record []byte, i int) bool {
	n, i := varint(record, i)
	if i < 0 || n < 0 || n > int64(len(record)-i)/2 { // a header takes two bytes or more
		return false
	}
	for range n {
		key, next := varint(record, i)
		next, ok := skip(record, next, key)
		if !ok || key < 0 {
			return false
		}
		value, next := varint(record, next)
		if i, ok = skip(record, next, value); !ok {
			return false
		}
	}
	return i == len(record)
}
