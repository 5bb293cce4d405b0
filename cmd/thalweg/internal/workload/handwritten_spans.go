package workload

import (
	"encoding/binary"
	"slices"

	"thalweg/internal/batch"
)

// windows counts per key and window: a hash table for each window that is open.
type windows struct {
	h    *handwritten
	open []window
	time int64
}

type window struct {
	start int64
	*counts
}

func (w *windows) add(_ int, r *batch.Record) {
	w.time = max(w.time, r.Timestamp)
	start := r.Timestamp - r.Timestamp%windowSize.Milliseconds()
	if start+windowSize.Milliseconds() <= w.time-windowGrace.Milliseconds() {
		return
	}
	i := len(w.open) - 1
	for i >= 0 && w.open[i].start != start {
		i--
	}
	if i < 0 {
		i = len(w.open)
		w.open = append(w.open, window{start, newCounts(1 << 15)})
	}
	w.open[i].add(r.Key, r.Timestamp)
}

func (w *windows) commit() {
	for _, open := range w.open {
		for _, at := range open.dirty {
			e := &open.entries[at]
			e.dirty = false
			w.h.windowed(open.key(e), open.start, open.start+windowSize.Milliseconds(), e.ts, e.n)
		}
		open.dirty = open.dirty[:0]
	}
	w.open = slices.DeleteFunc(w.open, func(o window) bool {
		return o.start+windowSize.Milliseconds() <= w.time-windowGrace.Milliseconds()
	})
}

// windowed encodes a row of a window into changelog and output; n 0 is no row.
func (h *handwritten) windowed(key []byte, start, end, ts, n int64) {
	h.scratch = append(h.scratch[:0], key...)
	h.scratch = binary.BigEndian.AppendUint64(h.scratch, uint64(end))
	h.scratch = binary.BigEndian.AppendUint64(h.scratch, uint64(start))
	k := len(h.scratch)
	h.scratch = binary.BigEndian.AppendUint64(h.scratch, uint64(n))
	value := h.scratch[k:]
	if n == 0 {
		value = nil
	}
	h.append(h.log, ts, h.scratch[:k:k], value)
	h.append(h.out, ts, h.scratch[:k:k], value)
}

// sessions counts per key and session.
type sessions struct {
	h     *handwritten
	keys  *counts
	byKey [][]session
	gone  []session // rows that are no more
	time  int64
}

type session struct {
	key           int32
	start, end, n int64
	dirty, told   bool
}

func (s *sessions) add(_ int, r *batch.Record) {
	gap := sessionGap.Milliseconds()
	s.time = max(s.time, r.Timestamp)
	closed := s.time - gap - sessionGrace.Milliseconds()
	key := s.keys.index(r.Key)
	if int(key) == len(s.byKey) {
		s.byKey = append(s.byKey, nil)
	}
	own := session{key: key, start: r.Timestamp, end: r.Timestamp, n: 1, dirty: true}
	kept := s.byKey[key][:0]
	for _, o := range s.byKey[key] {
		switch {
		case o.end >= r.Timestamp-gap && o.start <= r.Timestamp+gap:
			own.start, own.end, own.n = min(own.start, o.start), max(own.end, o.end), own.n+o.n
			if o.told {
				s.gone = append(s.gone, o)
			}
		case o.end >= closed || o.dirty:
			kept = append(kept, o)
		}
	}
	s.byKey[key] = append(kept, own)
	s.keys.hit(key, r.Timestamp)
}

func (s *sessions) commit() {
	for _, o := range s.gone {
		s.h.windowed(s.keys.key(&s.keys.entries[o.key]), o.start, o.end, o.end, 0)
	}
	s.gone = s.gone[:0]
	for _, at := range s.keys.dirty {
		e := &s.keys.entries[at]
		e.dirty = false
		for i := range s.byKey[at] {
			if o := &s.byKey[at][i]; o.dirty {
				s.h.windowed(s.keys.key(e), o.start, o.end, o.end, o.n)
				o.dirty, o.told = false, true
			}
		}
	}
	s.keys.dirty = s.keys.dirty[:0]
}
