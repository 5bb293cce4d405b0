package state

import (
	"math"
	"slices"
	"time"

	"thalweg/serde"
	"thalweg/state/engine"
)

// segmentedTable is the untyped part of a window or session store: its entries, in one cache for each segment. An
// entry's key ends in a time (a window's start, a session's end and start), which determines its segment.
type segmentedTable struct {
	segmentedStore
	tail      int  // bytes behind the user's key: 8 or 16
	unmatched bool // the sessions are unmatched records
	newCache  func(prefix []byte) (*rowCache, any)
	emit      func(seg *tableSegment, index uint32) error
	spare     []*tableSegment // deleted segments whose memory is reused
	key       []byte          // scratch
	rows      []row           // scratch
	bounds    []byte          // scratch: the ends of a search
}

// tableSegment is the entries of one segment, in a cache of their own.
type tableSegment struct {
	segment
	cache     *rowCache
	typed     any     // *typedCache[V]: see typedCacheOf
	times     []int64 // the distinct times in it, ascending, while they are few and all known
	manyTimes bool
	longest   int64 // no session in it is longer, in milliseconds
}

const timesMax = 16

func newSegmentedTable(
	r *storeBase, tail int, retention time.Duration, newCache func([]byte) (*rowCache, any),
) *segmentedTable {
	s := &segmentedTable{tail: tail, unmatched: r.store.Spec().Kind == KindUnmatched, newCache: newCache}
	s.segmentedStore = newSegmentedStore(r, retention,
		func(number int64) *segment { return &s.newSegment(number).segment },
		func(t *segment) { s.release(t.asTable) })
	return s
}

// cacheMaker returns the function that makes the cache of a segment.
func cacheMaker[V any](r *storeBase, skip int, values serde.Serde[V]) func(prefix []byte) (*rowCache, any) {
	values = serde.Local(values)
	return func(prefix []byte) (*rowCache, any) {
		c := &typedCache[V]{}
		openTypedCache(c, r, prefix, skip, values)
		return c.rows, c
	}
}

// typedCacheOf returns the cache of a segment, whose store has values of that type.
func typedCacheOf[V any](seg *tableSegment) *typedCache[V] { return seg.typed.(*typedCache[V]) }

func (s *segmentedTable) newSegment(number int64) *tableSegment {
	seg := s.reuseSegment(number)
	if seg == nil {
		seg = s.newTableSegment(number)
	}
	seg.cache.complete = true
	// Most segments have about as many entries as the one before.
	if n := len(s.live); n > 0 && s.live[n-1].number < number {
		seg.cache.Reserve(s.live[n-1].asTable.cache.Len())
	}
	return seg
}

func (s *segmentedTable) newTableSegment(number int64) *tableSegment {
	seg := &tableSegment{segment: segment{number: number}}
	seg.asTable = seg
	seg.cache, seg.typed = s.newCache(s.segmentedStore.rows(number))
	seg.cache.emit = func(index uint32) error { return s.emit(seg, index) }
	if s.tail == windowTail {
		seg.cache.suffix = windowSequence
	}
	seg.cache.unmatched, seg.cache.tail = s.unmatched, s.tail
	return seg
}

// reuseSegment makes a segment from the memory of a released one; nil: there is none.
func (s *segmentedTable) reuseSegment(number int64) *tableSegment {
	n := len(s.spare)
	if n == 0 {
		return nil
	}
	seg := s.spare[n-1]
	s.spare = s.spare[:n-1]
	*seg = tableSegment{segment: segment{number: number, asTable: seg}, cache: seg.cache, typed: seg.typed}
	seg.cache.reuse(s.segmentedStore.rows(number))
	return seg
}

func (s *segmentedTable) release(seg *tableSegment) {
	seg.cache.retire()
	if s.spareBytes()+seg.cache.Bytes() <= spareBytesMax {
		s.spare = append(s.spare, seg)
	}
}

func (s *segmentedTable) spareBytes() (sum int64) {
	for _, seg := range s.spare {
		sum += seg.cache.Bytes()
	}
	return sum
}

func (s *segmentedTable) dropSpare() { s.spare = nil }

// noteTime records that a segment has an entry of a time.
func (g *tableSegment) noteTime(when int64) {
	if g.manyTimes || len(g.times) > 0 && g.times[len(g.times)-1] == when {
		return
	}
	at, found := slices.BinarySearch(g.times, when)
	switch {
	case found:
	case len(g.times) == timesMax:
		g.manyTimes, g.times = true, nil
	default:
		g.times = slices.Insert(g.times, at, when)
	}
}

// at is segmentedStore.at for a tableSegment.
func (s *segmentedTable) at(when int64) (*tableSegment, error) {
	t, err := s.segmentedStore.at(when)
	if err != nil {
		return nil, err
	}
	return t.asTable, nil
}

// restoring is segmentedStore.restoring for a tableSegment.
func (s *segmentedTable) restoring(when int64) (*tableSegment, error) {
	t, err := s.segmentedStore.restoring(when)
	if err != nil {
		return nil, err
	}
	return t.asTable, nil
}

func (s *segmentedTable) existing(when int64) *tableSegment {
	if t := s.segmentedStore.existing(when); t != nil {
		return t.asTable
	}
	return nil
}

func (s *segmentedTable) between(from, to int64, reverse bool, yield func(*tableSegment) bool) {
	s.segmentedStore.between(from, to, reverse, func(t *segment) bool { return yield(t.asTable) })
}

func (s *segmentedTable) storeBase() *storeBase { return s.base }

func (s *segmentedTable) caches(yield func(cache) bool) {
	for _, t := range s.expired {
		seg := t.asTable
		if !yield(seg.cache) {
			return
		}
	}
	for _, t := range s.live {
		seg := t.asTable
		if !yield(seg.cache) {
			return
		}
	}
}

func (s *segmentedTable) writeDeletes(b engine.Batch) error {
	return s.writeRangeDeletes(b, func(t *segment) bool { return t.asTable.cache.waits() })
}

func (s *segmentedTable) restore(key, value []byte, timestamp int64) error {
	seg, own, at, err := s.placeRestored(key, timestamp)
	if seg == nil {
		return err
	}
	return seg.cache.restore(own, value, at)
}

// placeRestored finds the segment of a changelog record, and its key and time there; nil: it has expired.
func (s *segmentedTable) placeRestored(
	key []byte, timestamp int64,
) (seg *tableSegment, own []byte, at int64, err error) {
	switch {
	case s.tail == windowTail:
		seg, own, err = s.placeRestoredWindow(key)
		at = timestamp
	case s.unmatched:
		seg, own, at, err = s.placeRestoredUnmatched(key)
	default:
		seg, own, at, err = s.placeRestoredSession(key)
	}
	return seg, own, at, ignoreExpired(err)
}

func (s *segmentedTable) vacant() bool {
	for t := range s.caches {
		if t.(*rowCache).Len() > 0 {
			return false
		}
	}
	return true
}

func (s *segmentedTable) loadRow(l *load, key, value []byte, timestamp int64) error {
	seg, own, at, err := s.placeRestored(key, timestamp)
	if seg == nil {
		return err
	}
	seg.saved, seg.manyTimes = true, true
	return l.add(seg.cache, own, value, at)
}

// begin finds the segments that the engine has.
func (s *segmentedTable) begin(e engine.Engine) error {
	err := s.load(e)
	for _, t := range s.live {
		seg := t.asTable
		seg.manyTimes, seg.longest = true, math.MaxInt64
		seg.cache.complete = false
	}
	return err
}

// keep holds entries where they are until it is undone.
func (s *segmentedTable) keep() (undo func()) {
	s.base.scans++
	return s.base.endScan
}
