package state

import (
	"math"
	"slices"
	"time"

	"thalweg/serde"
	"thalweg/state/engine"
)

// segments is the untyped part of a window or session store: its entries, in one cache for each segment of its
// calendar. An entry's key ends in a time (a window's start, a session's end and start), which says where it belongs.
type segments struct {
	calendar
	tail     int  // bytes behind the user's key: 8 or 16
	held     bool // the sessions are held records
	newCache func(prefix []byte) (*rowCache, any)
	sender   func(seg *segment, index uint32) error
	spare    []*segment // deleted segments whose memory is reused
	key      []byte     // scratch
	rows     []row      // scratch
	bounds   []byte     // scratch: the ends of a search
}

// segment is the entries of one stretch of time.
type segment struct {
	stretch
	cache     *rowCache
	typed     any     // *typedCache[V]: see typedCacheOf
	times     []int64 // the distinct times in it, ascending, while they are few and all known
	manyTimes bool
	longest   int64 // no session in it is longer, in milliseconds
}

const timesMax = 16

func newSegments(r *storeBase, tail int, retention time.Duration, newCache func([]byte) (*rowCache, any)) *segments {
	s := &segments{tail: tail, held: r.store.Spec().Kind == KindHeld, newCache: newCache}
	s.calendar = newCalendar(r, retention,
		func(number int64) *stretch { return &s.newSegment(number).stretch },
		func(t *stretch) { s.bury(t.segment) })
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
func typedCacheOf[V any](seg *segment) *typedCache[V] { return seg.typed.(*typedCache[V]) }

func (s *segments) newSegment(number int64) *segment {
	seg := s.renewed(number)
	if seg == nil {
		seg = s.made(number)
	}
	seg.cache.complete = true
	// Most stretches of time have about as many entries as the one before.
	if n := len(s.live); n > 0 && s.live[n-1].number < number {
		seg.cache.Reserve(s.live[n-1].segment.cache.Len())
	}
	return seg
}

func (s *segments) made(number int64) *segment {
	seg := &segment{stretch: stretch{number: number}}
	seg.segment = seg
	seg.cache, seg.typed = s.newCache(s.calendar.rows(number))
	seg.cache.sender = func(index uint32) error { return s.sender(seg, index) }
	if s.tail == windowTail {
		seg.cache.suffix = windowSequence
	}
	seg.cache.held, seg.cache.tail = s.held, s.tail
	return seg
}

// renewed makes a segment of the memory of one that is gone.
func (s *segments) renewed(number int64) *segment {
	n := len(s.spare)
	if n == 0 {
		return nil
	}
	seg := s.spare[n-1]
	s.spare = s.spare[:n-1]
	*seg = segment{stretch: stretch{number: number, segment: seg}, cache: seg.cache, typed: seg.typed}
	seg.cache.reuse(s.calendar.rows(number))
	return seg
}

func (s *segments) bury(seg *segment) {
	seg.cache.retire()
	if s.spareBytes()+seg.cache.Bytes() <= spareBytesMax {
		s.spare = append(s.spare, seg)
	}
}

func (s *segments) spareBytes() (sum int64) {
	for _, seg := range s.spare {
		sum += seg.cache.Bytes()
	}
	return sum
}

func (s *segments) dropSpare() { s.spare = nil }

// note remembers that a segment has an entry of a time.
func (g *segment) note(when int64) {
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

// at is calendar.at with what is there.
func (s *segments) at(when int64) (*segment, error) {
	t, err := s.calendar.at(when)
	if err != nil {
		return nil, err
	}
	return t.segment, nil
}

// restoring is calendar.restoring with what is there.
func (s *segments) restoring(when int64) (*segment, error) {
	t, err := s.calendar.restoring(when)
	if err != nil {
		return nil, err
	}
	return t.segment, nil
}

func (s *segments) existing(when int64) *segment {
	if t := s.calendar.existing(when); t != nil {
		return t.segment
	}
	return nil
}

func (s *segments) between(from, to int64, reverse bool, yield func(*segment) bool) {
	s.calendar.between(from, to, reverse, func(t *stretch) bool { return yield(t.segment) })
}

func (s *segments) storeBase() *storeBase { return s.base }

func (s *segments) caches(yield func(cache) bool) {
	for _, t := range s.expired {
		seg := t.segment
		if !yield(seg.cache) {
			return
		}
	}
	for _, t := range s.live {
		seg := t.segment
		if !yield(seg.cache) {
			return
		}
	}
}

func (s *segments) prune(b engine.Batch) error {
	return s.pruneRows(b, func(t *stretch) bool { return t.segment.cache.waits() })
}

func (s *segments) restore(key, value []byte, timestamp int64) error {
	seg, own, at, err := s.placeRestored(key, timestamp)
	if seg == nil {
		return err
	}
	return seg.cache.restore(own, value, at)
}

// placeRestored finds the segment of a changelog record, and its key and time there; nil: it has expired.
func (s *segments) placeRestored(key []byte, timestamp int64) (seg *segment, own []byte, at int64, err error) {
	switch {
	case s.tail == windowTail:
		seg, own, err = s.placeRestoredWindow(key)
		at = timestamp
	case s.held:
		seg, own, at, err = s.placeRestoredHeld(key)
	default:
		seg, own, at, err = s.placeRestoredSession(key)
	}
	return seg, own, at, ignoreExpired(err)
}

func (s *segments) vacant() bool {
	for t := range s.caches {
		if t.(*rowCache).Len() > 0 {
			return false
		}
	}
	return true
}

func (s *segments) loadRow(l *load, key, value []byte, timestamp int64) error {
	seg, own, at, err := s.placeRestored(key, timestamp)
	if seg == nil {
		return err
	}
	seg.saved, seg.manyTimes = true, true
	return l.add(seg.cache, own, value, at)
}

// begin finds the segments that the engine has.
func (s *segments) begin(e engine.Engine) error {
	err := s.load(e)
	for _, t := range s.live {
		seg := t.segment
		seg.manyTimes, seg.longest = true, math.MaxInt64
		seg.cache.complete = false
	}
	return err
}

// keep holds entries where they are until it is undone.
func (s *segments) keep() (undo func()) {
	s.base.scans++
	return s.base.endScan
}
