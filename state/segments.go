package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// ErrExpired is returned for a window or session that the store has given up: see Expire.
var ErrExpired = errors.New("state: expired")

// segments holds the entries of a window or session store, in one shelf for each stretch of time. An entry's key ends
// in a time (a window's start, a session's end and start), which says where it belongs. Expiry drops whole segments:
// nothing is deleted key by key.
type segments[V any] struct {
	room     *room
	values   serde.Serde[V]
	tail     int // bytes behind the user's key: 8 or 16
	skip     int // of them, left out of the hash
	inline   bool
	interval int64 // milliseconds of a segment

	live    []*segment[V] // by number
	last    *segment[V]
	expired []*segment[V] // dropped, until the commit
	sealed  int           // so many were dropped before the drain
	graves  []int64       // numbers of segments that the engine still has

	floor          int64 // times below are given up
	sealedFloor    int64
	committedFloor int64
	intervalSaved  bool
	sender         func(seg *segment[V], index uint32) error
}

// segment is one stretch of time.
type segment[V any] struct {
	number int64
	cells  cells[V]
	saved  bool // the engine has rows of it
	saving bool

	times     []int64 // the distinct times in it, ascending, while they are few and all known
	manyTimes bool
}

const (
	segmentMin     = time.Second
	segmentMax     = time.Hour
	segmentDefault = time.Minute
	timesMax       = 16
)

func newSegments[V any](r *room, values serde.Serde[V], tail, skip int, retention time.Duration) *segments[V] {
	interval := segmentDefault
	if retention > 0 {
		interval = min(max(retention/3, segmentMin), segmentMax)
	}
	return &segments[V]{
		room: r, values: serde.Local(values), tail: tail, skip: skip, inline: isFlat[V](),
		interval: interval.Milliseconds(),
	}
}

// at returns the segment of a time, which it makes when there is none.
func (s *segments[V]) at(when int64) (*segment[V], error) {
	if when < s.floor {
		return nil, ErrExpired
	}
	number := when / s.interval
	if s.last != nil && s.last.number == number {
		return s.last, nil
	}
	if when < 0 {
		return nil, fmt.Errorf("store %q: negative time %d", s.room.name, when)
	}
	at, found := s.position(number)
	if !found {
		s.live = slices.Insert(s.live, at, s.newSegment(number))
	}
	s.last = s.live[at]
	return s.last, nil
}

// existing returns the segment of a time, nil when there is none.
func (s *segments[V]) existing(when int64) *segment[V] {
	number := when / s.interval
	if when < s.floor || when < 0 {
		return nil
	}
	if s.last != nil && s.last.number == number {
		return s.last
	}
	at, found := s.position(number)
	if !found {
		return nil
	}
	s.last = s.live[at]
	return s.last
}

func (s *segments[V]) position(number int64) (int, bool) {
	return slices.BinarySearchFunc(s.live, number, func(seg *segment[V], n int64) int {
		switch {
		case seg.number < n:
			return -1
		case seg.number > n:
			return 1
		default:
			return 0
		}
	})
}

func (s *segments[V]) newSegment(number int64) *segment[V] {
	seg := &segment[V]{number: number}
	seg.cells = newCells(s.room, s.rows(number), s.skip, s.values, s.inline)
	seg.cells.startComplete(true)
	seg.cells.send(func(index uint32) error { return s.sender(seg, index) })
	if s.tail == windowTail {
		seg.cells.logSuffix(windowSequence)
	}
	return seg
}

// rows is where the engine keeps a segment.
func (s *segments[V]) rows(number int64) []byte {
	b := append(slices.Clone(s.room.prefix), layout.KindExpiring)
	return binary.BigEndian.AppendUint64(b, uint64(number))
}

// note remembers that a segment has an entry of a time.
func (g *segment[V]) note(when int64) {
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

// between yields the segments that may have times in [from, to], in order.
func (s *segments[V]) between(from, to int64, reverse bool, yield func(*segment[V]) bool) {
	from = max(from, s.floor, 0)
	if to < from {
		return
	}
	low, _ := s.position(from / s.interval)
	high, found := s.position(to / s.interval)
	if found {
		high++
	}
	some := slices.Clone(s.live[low:high]) // what is yielded to may write
	if reverse {
		slices.Reverse(some)
	}
	for _, seg := range some {
		if !yield(seg) {
			return
		}
	}
}

// expire gives up all times below before.
func (s *segments[V]) expire(before int64) {
	if before <= s.floor {
		return
	}
	s.floor = before
	n := 0
	for n < len(s.live) && (s.live[n].number+1)*s.interval <= before {
		n++
	}
	if n > 0 {
		s.expired = append(s.expired, s.live[:n]...)
		s.live = slices.Delete(s.live, 0, n)
		s.last = nil
	}
}

func (s *segments[V]) tiers(yield func(tier) bool) {
	for _, seg := range s.expired {
		if !yield(seg.cells.tier()) {
			return
		}
	}
	for _, seg := range s.live {
		if !yield(seg.cells.tier()) {
			return
		}
	}
}

func (s *segments[V]) seal() { s.sealed, s.sealedFloor = len(s.expired), s.floor }

func (s *segments[V]) settle() {
	s.committedFloor = s.sealedFloor
	for _, seg := range s.expired[:s.sealed] {
		if seg.saved {
			s.graves = append(s.graves, seg.number)
		}
		s.room.shelves[seg.cells.number()] = nil
	}
	s.expired = slices.Delete(s.expired, 0, s.sealed)
	s.sealed = 0
}

func (s *segments[V]) revive() {
	s.live = append(slices.Clone(s.expired), s.live...)
	s.expired, s.sealed = nil, 0
	s.floor, s.sealedFloor, s.last = s.committedFloor, s.committedFloor, nil
}

func (s *segments[V]) doomed() bool { return len(s.graves) > 0 }

func (s *segments[V]) prune(b engine.Batch) error {
	for _, number := range s.graves {
		if err := b.DeleteRange(s.rows(number), s.rows(number+1)); err != nil {
			return err
		}
	}
	for _, seg := range s.live {
		seg.saving = seg.cells.tier().waits()
	}
	if s.intervalSaved {
		return nil
	}
	return b.Set(append(slices.Clone(s.room.prefix), layout.KindSegments), layout.AppendPosition(nil, s.interval))
}

func (s *segments[V]) pruned() {
	s.graves = nil
	s.intervalSaved = true
	for _, seg := range append(slices.Clone(s.live), s.expired...) {
		seg.saved = seg.saved || seg.saving
		seg.saving = false
	}
}

func (s *segments[V]) wiped() {
	for _, seg := range append(slices.Clone(s.live), s.expired...) {
		s.room.shelves[seg.cells.number()] = nil
	}
	s.live, s.expired, s.graves, s.last, s.sealed = nil, nil, nil, nil, 0
	s.floor, s.sealedFloor, s.committedFloor, s.intervalSaved = 0, 0, 0, false
}

// begin finds the segments that the engine has.
func (s *segments[V]) begin(e engine.Engine) error {
	value, found, err := e.Get(nil, append(slices.Clone(s.room.prefix), layout.KindSegments))
	if err != nil {
		return err
	}
	if found {
		if s.interval, err = layout.Position(value); err != nil {
			return err
		}
		s.intervalSaved = true
	}
	rows := append(slices.Clone(s.room.prefix), layout.KindExpiring)
	it, err := e.Iterate(rows, layout.After(rows))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		key := it.Key()[len(rows):]
		if len(key) < 8 {
			break
		}
		seg := s.newSegment(int64(binary.BigEndian.Uint64(key)))
		seg.saved, seg.manyTimes = true, true
		seg.cells.startComplete(false)
		s.live = append(s.live, seg)
		ok = it.SeekGE(s.rows(seg.number + 1))
	}
	return errors.Join(it.Error(), it.Close())
}
