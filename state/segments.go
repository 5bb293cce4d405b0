package state

import (
	"slices"
	"time"

	"thalweg/serde"
	"thalweg/state/engine"
)

// segments holds the entries of a window or session store, in one shelf for each segment of its calendar. An entry's
// key ends in a time (a window's start, a session's end and start), which says where it belongs.
type segments[V any] struct {
	calendar[*segment[V]]
	values serde.Serde[V]
	tail   int // bytes behind the user's key: 8 or 16
	skip   int // of them, left out of the hash
	inline bool
	sender func(seg *segment[V], index uint32) error
}

// segment is the entries of one stretch of time.
type segment[V any] struct {
	stretch
	cells     cells[V]
	times     []int64 // the distinct times in it, ascending, while they are few and all known
	manyTimes bool
}

const timesMax = 16

func newSegments[V any](r *room, values serde.Serde[V], tail, skip int, retention time.Duration) *segments[V] {
	s := &segments[V]{values: serde.Local(values), tail: tail, skip: skip, inline: isFlat[V]()}
	s.calendar = calendar[*segment[V]]{
		room: r, interval: segmentInterval(retention), make: s.newSegment,
		bury: func(seg *segment[V]) { r.shelves[seg.cells.number()] = nil },
	}
	return s
}

func (s *segments[V]) newSegment(number int64) *segment[V] {
	seg := &segment[V]{stretch: stretch{number: number}}
	seg.cells = newCells(s.room, s.rows(number), s.skip, s.values, s.inline)
	seg.cells.startComplete(true)
	seg.cells.send(func(index uint32) error { return s.sender(seg, index) })
	if s.tail == windowTail {
		seg.cells.logSuffix(windowSequence)
	}
	return seg
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

func (s *segments[V]) prune(b engine.Batch) error {
	return s.pruneRows(b, func(seg *segment[V]) bool { return seg.cells.tier().waits() })
}

// begin finds the segments that the engine has.
func (s *segments[V]) begin(e engine.Engine) error {
	err := s.load(e)
	for _, seg := range s.live {
		seg.manyTimes = true
		seg.cells.startComplete(false)
	}
	return err
}
