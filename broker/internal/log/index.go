package log

import (
	"encoding/binary"
	"sort"
	"sync"
)

// index is the sparse index of one segment: where batches lie, by offset and by time. That of a sealed segment is
// loaded when it is first asked for, and may be dropped again.
type index struct {
	mu      sync.RWMutex
	loaded  bool
	used    bool // since the last look of Maintain
	offsets []offsetEntry
	times   []timeEntry
	since   int // bytes of log since the last entry

	// The largest timestamp of the segment and the last offset of the first batch that has it; always known.
	maxTimestamp       int64
	maxTimestampOffset int64
}

// offsetEntry says that the batch at position ends with the offset base+offset.
type offsetEntry struct {
	offset   int32
	position int32
}

// timeEntry says that no batch up to base+offset has a timestamp above timestamp.
type timeEntry struct {
	timestamp int64
	offset    int32
}

const (
	offsetEntryBytes = 8
	timeEntryBytes   = 12
)

// add notes a batch that was just written. last is its last offset relative to the segment.
func (x *index) add(base, lastOffset int64, position, size int, maxTimestamp int64, every int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if maxTimestamp > x.maxTimestamp {
		x.maxTimestamp, x.maxTimestampOffset = maxTimestamp, lastOffset
	}
	if x.since > every {
		x.offsets = append(x.offsets, offsetEntry{int32(lastOffset - base), int32(position)})
		x.addTime(base)
		x.since = 0
	}
	x.since += size
}

// addTime notes the largest timestamp so far. x.mu is held.
func (x *index) addTime(base int64) {
	if x.maxTimestampOffset < base {
		return
	}
	if n := len(x.times); n > 0 && x.times[n-1].timestamp >= x.maxTimestamp {
		return
	}
	x.times = append(x.times, timeEntry{x.maxTimestamp, int32(x.maxTimestampOffset - base)})
}

// reset forgets everything, as in an empty segment.
func (x *index) reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.offsets, x.times, x.since, x.loaded = nil, nil, 0, true
	x.maxTimestamp, x.maxTimestampOffset = -1, -1
}

// resume makes the index that of the batches before one that has an entry of its own, which is added next.
func (x *index) resume(base int64, offsets []offsetEntry, times []timeEntry, every int) {
	x.reset()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.offsets, x.times, x.since = offsets, times, every+1
	if n := len(times); n > 0 {
		x.maxTimestamp, x.maxTimestampOffset = times[n-1].timestamp, base+int64(times[n-1].offset)
	}
}

// position returns where to start looking for offset, and the last offset of the batch there, -1 at the start of the
// segment. x is loaded.
func (x *index) position(base, offset int64) (position, last int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.offsets), func(i int) bool { return base+int64(x.offsets[i].offset) > offset })
	if i == 0 {
		return 0, -1
	}
	return int64(x.offsets[i-1].position), base + int64(x.offsets[i-1].offset)
}

// after returns the first position behind this one at which a batch begins, -1 if none is known. x is loaded.
func (x *index) after(position int64) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.offsets), func(i int) bool { return int64(x.offsets[i].position) > position })
	if i == len(x.offsets) {
		return -1
	}
	return int64(x.offsets[i].position)
}

// within returns the last position from after up to limit at which a batch begins, -1 if none is known. x is loaded.
func (x *index) within(after, limit int64) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.offsets), func(i int) bool { return int64(x.offsets[i].position) > limit })
	if i == 0 || int64(x.offsets[i-1].position) <= after {
		return -1
	}
	return int64(x.offsets[i-1].position)
}

// upTo returns a position behind everything that ends below offset, and no further than size. x is loaded.
func (x *index) upTo(base, offset, size int64) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.offsets), func(i int) bool { return base+int64(x.offsets[i].offset) >= offset })
	if i == len(x.offsets) {
		return size
	}
	return min(size, int64(x.offsets[i].position))
}

// before returns an offset before which no batch has a timestamp of at least ms. x is loaded.
func (x *index) before(base, ms int64) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.times), func(i int) bool { return x.times[i].timestamp >= ms })
	if i == 0 {
		return base
	}
	return base + int64(x.times[i-1].offset)
}

// newest returns the largest timestamp and the last offset of the batch that has it; -1, -1 in an empty segment.
func (x *index) newest() (ms, offset int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.maxTimestamp, x.maxTimestampOffset
}

// encode returns the bytes of the .index and of the .timeindex file.
func (x *index) encode(base int64) (offsets, times []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.addTime(base)
	offsets = make([]byte, 0, len(x.offsets)*offsetEntryBytes)
	for _, e := range x.offsets {
		offsets = binary.BigEndian.AppendUint32(offsets, uint32(e.offset))
		offsets = binary.BigEndian.AppendUint32(offsets, uint32(e.position))
	}
	times = make([]byte, 0, len(x.times)*timeEntryBytes)
	for _, e := range x.times {
		times = binary.BigEndian.AppendUint64(times, uint64(e.timestamp))
		times = binary.BigEndian.AppendUint32(times, uint32(e.offset))
	}
	return offsets, times
}

// decodeIndex reads what encode wrote. It returns false when the bytes can't be an index of a segment of size bytes.
func decodeIndex(offsets, times []byte, size int64) (o []offsetEntry, t []timeEntry, ok bool) {
	if len(offsets)%offsetEntryBytes != 0 || len(times)%timeEntryBytes != 0 {
		return nil, nil, false
	}
	for ; len(offsets) > 0; offsets = offsets[offsetEntryBytes:] {
		e := offsetEntry{
			offset:   int32(binary.BigEndian.Uint32(offsets)),
			position: int32(binary.BigEndian.Uint32(offsets[4:])),
		}
		if e.offset < 0 || e.position <= 0 || int64(e.position) >= size {
			return nil, nil, false
		}
		if n := len(o); n > 0 && (e.offset <= o[n-1].offset || e.position <= o[n-1].position) {
			return nil, nil, false
		}
		o = append(o, e)
	}
	for ; len(times) > 0; times = times[timeEntryBytes:] {
		e := timeEntry{
			timestamp: int64(binary.BigEndian.Uint64(times)),
			offset:    int32(binary.BigEndian.Uint32(times[8:])),
		}
		if e.offset < 0 || len(t) > 0 && (e.timestamp <= t[len(t)-1].timestamp || e.offset < t[len(t)-1].offset) {
			return nil, nil, false
		}
		t = append(t, e)
	}
	return o, t, true
}
