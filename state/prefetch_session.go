package state

import (
	"bytes"
	"math"
	"slices"

	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// A whole mark is an entry of a session store's table that stands for no session: it says that all sessions of a key
// which the engine has for that table are in memory. Its key ends in times that no session has. It goes when one of the
// key's entries is evicted.

var wholeTail = bytes.Repeat([]byte{0xff}, sessionTail)

func (s *rowCache) wholeKey(head []byte) []byte {
	s.base.key = append(append(s.base.key[:0], head...), wholeTail...)
	return s.base.key
}

// whole tells whether all sessions of a key are in memory.
func (s *rowCache) whole(head []byte) bool {
	if s.complete {
		return true
	}
	if s.wholes == 0 {
		return false
	}
	key := s.wholeKey(head)
	index, found := s.Find(s.Hash(key), key)
	if found {
		s.At(index).Use()
	}
	return found
}

// findWhole is find for a session of a key whose sessions are all in memory.
func (s *rowCache) findWhole(key []byte) (uint32, error) {
	hash := s.Hash(key)
	if index, ok := s.Find(hash, key); ok {
		s.At(index).Use()
		return index, nil
	}
	return s.miss(hash, key, true)
}

// evicted is called with the key of an entry that goes: what it belonged to is whole no more.
func (s *rowCache) evicted(key []byte) {
	if s.wholes == 0 {
		return
	}
	head := key[:len(key)-sessionTail]
	if bytes.Equal(key[len(head):], wholeTail) {
		s.wholes--
		return
	}
	mark := s.wholeKey(head)
	if index, found := s.Find(s.Hash(mark), mark); found {
		s.Delete(index)
		s.wholes--
	}
}

// sessionPrefetcher is the Prefetcher of searches for the sessions of the records' keys.
type sessionPrefetcher struct {
	noLines
	segments *segmentedTable
	before   int64 // milliseconds that a session may end before a record which it is looked up for
	rows     rowsAhead
}

//go:noinline // see package comment
func (s *segmentedTable) sessionPrefetcher(before int64) func() Prefetcher {
	return func() Prefetcher { return &sessionPrefetcher{segments: s, before: before} }
}

// sessionRows is about how many entries a key takes, with the mark.
const sessionRows = 3

func (p *sessionPrefetcher) RowsWanted() int {
	seg := p.segments.onDisk()
	if seg == nil {
		p.rows.release(p.segments.base.tx, false)
		return 0
	}
	return p.rows.wanted(seg.cache) / sessionRows
}

func (p *sessionPrefetcher) PrefetchRows(a *Ahead) (records int) {
	p.rows.release(p.segments.base.tx, false)
	seg := p.segments.onDisk()
	if seg == nil || len(a.Timestamps) != len(a.Keys) || len(a.Keys) == 0 {
		return len(a.Keys)
	}
	if records = min(len(a.Keys), p.rows.most(seg.cache)/sessionRows); records == 0 {
		return 0
	}
	order := make([]int, records)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return bytes.Compare(a.Keys[i], a.Keys[j]) })
	least := max(slices.Min(a.Timestamps[:records])-p.before, p.segments.horizon(), 0)
	for _, t := range slices.Clone(p.segments.since(least)) {
		if t.asTable.cache.complete {
			continue
		}
		heads := make([][]byte, 0, records)
		for _, i := range order {
			if a.Timestamps[i]-p.before < (t.number+1)*p.segments.interval {
				heads = append(heads, a.Keys[i])
			}
		}
		p.rows.readSessions(t.asTable.cache, slices.CompactFunc(heads, bytes.Equal), t.number*p.segments.interval,
			(t.number+1)*p.segments.interval-1)
	}
	return records
}

// readSessions reads the sessions of keys, which ascend, that end in [from, to], as far as there is room. An error is
// met again by the search.
func (a *rowsAhead) readSessions(s *rowCache, heads [][]byte, from, to int64) {
	rowBytes := s.rowBytes()
	a.keys += len(heads)
	heads = slices.DeleteFunc(heads, func(head []byte) bool {
		return len(head)+sessionTail > table.KeyBytesMax || s.whole(head)
	})
	if len(heads) == 0 {
		return
	}
	a.missing += len(heads)
	r := &sessionsAhead{rowsAhead: a, cache: s, from: from, to: to}
	r.space = a.reserve(s, sessionRows*len(heads), rowBytes)
	r.left = int64(r.space) * rowBytes
	if r.space > 0 {
		r.read(heads)
	}
	a.hold(s.base.tx, rowBytes)
}

// sessionsAhead is one pass of readSessions.
type sessionsAhead struct {
	*rowsAhead
	cache        *rowCache
	space        int   // entries that may still be made
	left         int64 // bytes that they may take
	from, to     int64
	lower, upper []byte
}

func (r *sessionsAhead) read(heads [][]byte) {
	s := r.cache
	it, err := s.base.tx.config.Engine.Iterate(s.prefix, layout.After(s.prefix))
	if err != nil {
		return
	}
	defer it.Close() //nolint:errcheck // nothing was written
	for _, head := range heads {
		r.lower = appendSession(append(append(r.lower[:0], s.prefix...), head...), 0, r.from)
		r.upper = appendSession(append(append(r.upper[:0], s.prefix...), head...), math.MaxInt64, r.to)
		for ok := it.SeekGE(r.lower); ok && bytes.Compare(it.Key(), r.upper) <= 0; ok = it.Next() {
			key := it.Key()[len(s.prefix):]
			if len(key) != len(head)+sessionTail || !bytes.HasPrefix(key, head) {
				continue
			}
			row, err := it.Value()
			if err != nil || !r.take(key, row) {
				return
			}
		}
		if it.Error() != nil || !r.takes(len(head)) {
			return
		}
		mark := s.wholeKey(head)
		r.pin(s.Insert(s.Hash(mark), mark), true)
		s.wholes++
		r.fetched++
	}
}

// takes tells whether an entry of so many bytes fits in.
func (r *sessionsAhead) takes(size int) bool {
	r.space--
	r.left -= max(rowBytesMin, int64(size))
	return r.space >= 0 && r.left >= 0 && r.cache.base.tx.used <= r.cache.base.tx.bytesMax()
}

// take makes an entry of a row, unless there is one, which may be newer.
func (r *sessionsAhead) take(key, row []byte) bool {
	s := r.cache
	hash := s.Hash(key)
	if index, found := s.Find(hash, key); found {
		r.pin(index, false)
		return true
	}
	if !r.takes(len(key) + len(row)) {
		return false
	}
	index := s.Insert(hash, key)
	if err := s.loadRow(index, row); err != nil {
		s.Delete(index)
		return false
	}
	r.pin(index, false)
	return true
}

func (r *sessionsAhead) pin(index uint32, fetched bool) {
	if e := r.cache.At(index); !e.Has(table.Pinned) {
		e.Mark(table.Pinned)
		r.pins = append(r.pins, pin{r.cache, index, fetched})
	}
}
