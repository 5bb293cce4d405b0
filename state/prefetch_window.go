package state

import (
	"encoding/binary"
	"math"
)

// windowPrefetcher is the Prefetcher of look-ups by the records' keys in windows.
type windowPrefetcher struct {
	noLines
	segments *segmentedTable
	starts   func(dst []int64, timestamp int64) []int64
	rows     rowsAhead
	scratch  []int64
}

//go:noinline // see package comment
func (s *segmentedTable) windowPrefetcher(starts func([]int64, int64) []int64) func() Prefetcher {
	return func() Prefetcher { return &windowPrefetcher{segments: s, starts: starts} }
}

// onDisk is the newest segment that has rows which are not in memory, or nil.
func (s *segmentedTable) onDisk() *tableSegment {
	for i := len(s.live) - 1; i >= 0; i-- {
		if seg := s.live[i].asTable; !seg.cache.complete {
			return seg
		}
	}
	return nil
}

func (p *windowPrefetcher) RowsWanted() int {
	seg := p.segments.onDisk()
	if seg == nil {
		p.rows.release(p.segments.base.tx, false)
		return 0
	}
	return p.rows.wanted(seg.cache)
}

// ofSegment is the keys of a segment, each with the number of its record.
type ofSegment struct {
	seg     *tableSegment
	keys    [][]byte
	records []int
}

func (p *windowPrefetcher) PrefetchRows(a *Ahead) (records int) {
	tx := p.segments.base.tx
	seg := p.segments.onDisk()
	p.rows.release(tx, false)
	if seg == nil || len(a.Timestamps) != len(a.Keys) {
		return len(a.Keys)
	}
	records = len(a.Keys)
	groups, done := p.group(a, p.rows.most(seg.cache))
	records = min(records, done)
	for _, g := range groups {
		if read := p.rows.read(g.seg.cache, g.keys); read < len(g.keys) {
			records = min(records, g.records[read])
		}
	}
	return records
}

// group shares out the keys of the records' windows, most at the most, among the segments that are not all in memory.
// It returns for how many records it did so.
func (p *windowPrefetcher) group(a *Ahead, most int) (groups []*ofSegment, records int) {
	var bytes []byte
	var last *ofSegment
	for i, head := range a.Keys {
		if most <= 0 {
			return groups, i
		}
		p.scratch = p.starts(p.scratch[:0], a.Timestamps[i])
		for _, start := range p.scratch {
			seg := p.segments.existing(start)
			if seg == nil || seg.cache.complete {
				continue
			}
			if last == nil || last.seg != seg {
				last = nil
				for _, g := range groups {
					if g.seg == seg {
						last = g
					}
				}
				if last == nil {
					last = &ofSegment{seg: seg}
					groups = append(groups, last)
				}
			}
			from := len(bytes)
			bytes = binary.BigEndian.AppendUint64(append(bytes, head...), uint64(start))
			last.keys = append(last.keys, bytes[from:len(bytes):len(bytes)])
			last.records = append(last.records, i)
			most--
		}
	}
	return groups, math.MaxInt
}
