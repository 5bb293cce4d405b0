package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

const (
	// sessionTail is the length of end and start behind a key, in the store as in the changelog of Kafka Streams.
	sessionTail = 16
	// unmatchedHead is the length of the time before the key of an unmatched record in the changelog.
	unmatchedHead = 8
)

// sessionKey appends end and start of a session to a key. The bytes are valid until the next call.
func (s *segmentedTable) sessionKey(head []byte, start, end int64) []byte {
	s.key = appendSession(append(s.key[:0], head...), start, end)
	return s.key
}

func appendSession(dst []byte, start, end int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(end)), uint64(start))
}

// splitSession returns what stands before a session's end and start, and these.
func splitSession(key []byte) (head []byte, start, end int64) {
	n := len(key) - sessionTail
	return key[:n:n], int64(binary.BigEndian.Uint64(key[n+8:])), int64(binary.BigEndian.Uint64(key[n:]))
}

// placeSession returns the entry of a session. It makes one when there is none.
func (s *segmentedTable) placeSession(head []byte, start, end int64) (*tableSegment, uint32, error) {
	if start < 0 || end < start || s.unmatched && end != start {
		return nil, 0, fmt.Errorf("store %q: session from %d to %d", s.base.name, start, end)
	}
	seg, err := s.at(end)
	if err != nil {
		return nil, 0, err
	}
	seg.longest = max(seg.longest, end-start)
	key := s.sessionKey(head, start, end)
	if !seg.cache.complete && seg.cache.whole(head) {
		index, err := seg.cache.findWhole(key)
		return seg, index, err
	}
	index, err := seg.cache.find(key)
	return seg, index, err
}

// since returns the segments that may have times from from on, which is not negative: a view.
func (s *segmentedTable) since(from int64) []*segment {
	low, _ := s.position(from / s.interval)
	return s.live[low:]
}

// findSessions returns the sessions of the key head, of that hash, in a segment that end at from or later and start at
// latestStart or earlier, by end, then start. The slice is valid until the next call.
func (s *segmentedTable) findSessions(
	seg *tableSegment, hash uint64, head []byte, from, latestStart int64,
) ([]row, error) {
	if seg.cache.complete && !seg.cache.MayHold(hash) {
		return nil, nil
	}
	s.rows = s.rows[:0]
	if !seg.cache.complete && !seg.cache.whole(head) {
		s.base.missed++
		err := s.scanSessions(seg, slices.Clone(head), from, latestStart)
		return s.rows, err
	}
	var lower, upper []byte
	if seg.cache.HasCrowds() {
		lower, upper = s.sessionBounds(seg, from, latestStart)
	}
	s.base.visited += seg.cache.Range(hash, head, lower, upper, func(index uint32, key []byte) bool {
		if _, start, end := splitSession(key); end >= from && start <= latestStart && seg.cache.present(index) {
			s.rows = append(s.rows, row{key: key, index: index, entry: true})
		}
		return true
	})
	if len(s.rows) > 1 {
		slices.SortFunc(s.rows, compareEnds)
	}
	return s.rows, nil
}

// sessionBounds returns the first and the last tail that sessions can have which findSessions looks for.
func (s *segmentedTable) sessionBounds(seg *tableSegment, from, latestStart int64) (lower, upper []byte) {
	to := int64(math.MaxInt64)
	if latestStart >= 0 && latestStart < to-seg.longest {
		to = latestStart + seg.longest
	}
	s.bounds = appendSession(appendSession(s.bounds[:0], 0, from), math.MaxInt64, to)
	return s.bounds[:sessionTail], s.bounds[sessionTail:]
}

// scanSessions finds sessions in the table and in the engine, which has them in order.
func (s *segmentedTable) scanSessions(seg *tableSegment, head []byte, from, latestStart int64) error {
	lower, upper := s.sessionBounds(seg, from, latestStart)
	lower, upper = append(slices.Clone(head), lower...), append(append(slices.Clone(head), upper...), 0)
	return seg.cache.scan(lower, upper, false, func(r row) bool {
		if len(r.key) == len(head)+sessionTail && bytes.HasPrefix(r.key, head) {
			if _, start, _ := splitSession(r.key); start <= latestStart {
				s.rows = append(s.rows, r)
			}
		}
		return true
	})
}

// compareEnds orders sessions by end, then start.
func compareEnds(a, b row) int {
	return bytes.Compare(a.key[len(a.key)-sessionTail:], b.key[len(b.key)-sessionTail:])
}

// allSessions visits the sessions that end in [from, to]: segment by segment, in a segment by the bytes of key, end and
// start, or else by end, then start, then the bytes of the key.
func (s *segmentedTable) allSessions(from, to int64, byEnd bool, visit func(*tableSegment, row) bool) (err error) {
	from = max(from, s.horizon(), 0)
	s.between(from, to, false, func(seg *tableSegment) bool {
		if byEnd && seg.cache.complete {
			more := true
			seg.cache.scanTimes(appendSession(nil, 0, from), appendSession(nil, math.MaxInt64, to), func(r row) bool {
				more = visit(seg, r)
				return more
			})
			return more
		}
		var rows []row
		err = seg.cache.scan(nil, nil, false, func(r row) bool {
			if _, _, end := splitSession(r.key); end >= from && end <= to {
				rows = append(rows, r)
			}
			return true
		})
		if err != nil {
			return false
		}
		if byEnd {
			slices.SortStableFunc(rows, compareEnds)
		}
		defer s.keep()()
		for _, r := range rows {
			if !visit(seg, r) {
				return false
			}
		}
		return true
	})
	return err
}

func (s *segmentedTable) placeRestoredSession(key []byte) (*tableSegment, []byte, int64, error) {
	if len(key) < sessionTail {
		return nil, nil, 0, fmt.Errorf("store %q: changelog key of %d bytes: want a key, 8 bytes of end, 8 of start",
			s.base.name, len(key))
	}
	_, start, end := splitSession(key)
	seg, err := s.restoring(end)
	if err != nil {
		return nil, nil, 0, err
	}
	seg.longest = max(seg.longest, end-start)
	return seg, key, end, nil
}

// appendUnmatched appends the changelog's key of an unmatched record, whose session is one moment: the time, then the
// key.
func appendUnmatched(dst, key []byte) []byte {
	head, _, end := splitSession(key)
	return append(binary.BigEndian.AppendUint64(dst, uint64(end)), head...)
}

func (s *segmentedTable) placeRestoredUnmatched(key []byte) (*tableSegment, []byte, int64, error) {
	if len(key) < unmatchedHead {
		return nil, nil, 0, fmt.Errorf("store %q: changelog key of %d bytes: want 8 bytes of time, and a key", s.base.name,
			len(key))
	}
	at := int64(binary.BigEndian.Uint64(key))
	return s.placeRestoredSession(s.sessionKey(key[unmatchedHead:], at, at))
}
