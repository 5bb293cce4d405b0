package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// windowTail is the length of the start behind a key; windowSequence follows it in the changelog, as in Kafka Streams.
const windowTail = 8

var windowSequence = []byte{0, 0, 0, 0}

// windowKey appends the start of a window to a key. The bytes are valid until the next call.
func (s *segmentedTable) windowKey(head []byte, start int64) []byte {
	s.key = binary.BigEndian.AppendUint64(append(s.key[:0], head...), uint64(start))
	return s.key
}

// splitWindow returns what stands before a window's start, and the start.
func splitWindow(key []byte) (head []byte, start int64) {
	n := len(key) - windowTail
	return key[:n:n], int64(binary.BigEndian.Uint64(key[n:]))
}

// visit is called with rows of windows until it returns false. A row without a key is of the key that was asked for.
type visit func(seg *tableSegment, r row, start int64) bool

// fetchWindows visits a key's windows that start in [from, to].
func (s *segmentedTable) fetchWindows(head []byte, from, to int64, reverse bool, visit visit) (err error) {
	from = max(from, s.horizon(), 0)
	lower := binary.BigEndian.AppendUint64(slices.Clone(head), uint64(from))
	upper := append(binary.BigEndian.AppendUint64(slices.Clone(head), uint64(to)), 0)
	s.between(from, to, reverse, func(seg *tableSegment) bool {
		more := true
		if !seg.manyTimes {
			more, err = s.probeWindows(seg, head, from, to, reverse, visit)
			return more && err == nil
		}
		err = seg.cache.scan(lower, upper, reverse, func(r row) bool {
			if len(r.key) != len(head)+windowTail || !bytes.HasPrefix(r.key, head) {
				return true
			}
			_, start := splitWindow(r.key)
			more = visit(seg, r, start)
			return more
		})
		return more && err == nil
	})
	return err
}

// probeWindows asks for the few windows that a segment has, one by one.
func (s *segmentedTable) probeWindows(
	seg *tableSegment, head []byte, from, to int64, reverse bool, visit visit,
) (more bool, err error) {
	times := slices.Clone(seg.times)
	if reverse {
		slices.Reverse(times)
	}
	for _, start := range times {
		if start < from || start > to {
			continue
		}
		index, found, err := seg.cache.lookup(s.windowKey(head, start))
		if err != nil {
			return false, err
		}
		if found && seg.cache.present(index) && !visit(seg, row{index: index, entry: true}, start) {
			return false, nil
		}
	}
	return true, nil
}

// order is how windows are visited.
type order int

const (
	ascending order = iota
	descending
	byTime
)

func (s *segmentedTable) windows(from, to int64, o order, visit visit) error {
	if o == byTime {
		return s.windowsByTime(from, to, visit)
	}
	return s.allWindows(from, to, o == descending, visit)
}

// allWindows visits the windows that start in [from, to]: segment by segment, in a segment by the bytes of key and
// start.
func (s *segmentedTable) allWindows(from, to int64, reverse bool, visit visit) (err error) {
	from = max(from, s.horizon(), 0)
	s.between(from, to, reverse, func(seg *tableSegment) bool {
		more := true
		err = seg.cache.scan(nil, nil, reverse, func(r row) bool {
			if _, start := splitWindow(r.key); start >= from && start <= to {
				more = visit(seg, r, start)
			}
			return more
		})
		return more && err == nil
	})
	return err
}

// windowsByTime visits the windows that start in [from, to], by start, then by the bytes of the key.
func (s *segmentedTable) windowsByTime(from, to int64, visit visit) (err error) {
	from = max(from, s.horizon(), 0)
	s.between(from, to, false, func(seg *tableSegment) bool {
		if !seg.manyTimes && !slices.ContainsFunc(seg.times, func(t int64) bool { return t >= from && t <= to }) {
			return true
		}
		if seg.cache.complete {
			more := true
			seg.cache.scanTimes(windowTime(from), windowTime(to), func(r row) bool {
				_, start := splitWindow(r.key)
				more = visit(seg, r, start)
				return more
			})
			return more
		}
		var found []timed
		err = seg.cache.scan(nil, nil, false, func(r row) bool {
			if _, start := splitWindow(r.key); start >= from && start <= to {
				found = append(found, timed{r, start})
			}
			return true
		})
		if err != nil {
			return false
		}
		slices.SortStableFunc(found, func(a, b timed) int { return sign(a.when - b.when) })
		defer s.keep()()
		for _, t := range found {
			if !visit(seg, t.row, t.when) {
				return false
			}
		}
		return true
	})
	return err
}

func windowTime(start int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(start)) }

// timed is a row with the time that its key ends in.
type timed struct {
	row
	when int64
}

func (s *segmentedTable) placeRestoredWindow(key []byte) (*tableSegment, []byte, error) {
	n := len(key) - len(windowSequence)
	if n < windowTail {
		return nil, nil, fmt.Errorf("store %q: changelog key of %d bytes: want a key, 8 bytes of start, 4 of sequence",
			s.base.name, len(key))
	}
	_, start := splitWindow(key[:n])
	seg, err := s.restoring(start)
	if err != nil {
		return nil, nil, err
	}
	seg.noteTime(start)
	return seg, key[:n], nil
}
