package state

import "thalweg/state/internal/table"

// Ahead is records that come next, in their order, as far as they are known before they are decoded.
type Ahead struct {
	Keys   [][]byte // encoded; no null keys
	Values [][]byte // encoded; nil is null
	// Timestamps are the records' own, in milliseconds; empty where the program makes others.
	Timestamps []int64
}

// AheadRecordsMax and AheadBytesMax bound the records of one input that are looked at before their turn.
const (
	AheadRecordsMax = 8192
	AheadBytesMax   = 4 << 20
)

// A Prefetcher prepares the look-ups of records that come next. It is a hint: it changes no row and no order, and what
// it does not do, or fails to do, the look-ups do for themselves. It serves one input, and belongs to the goroutine
// that runs the task.
type Prefetcher interface {
	// RowsWanted is for how many of the next records PrefetchRows is of use. It is 0 where all rows are in memory,
	// nothing more of them fits in, or nearly all look-ups find their rows there.
	RowsWanted() int
	// PrefetchRows reads the rows that are not in memory, in the order of their keys, and keeps them in memory until they
	// are looked up, or the next call. It returns for how many records it has done so. An empty Ahead releases what was
	// read.
	PrefetchRows(a *Ahead) (records int)
	// LinesWanted tells whether PrefetchLines is of use: small tables are in the processor's caches anyway.
	LinesWanted() bool
	// PrefetchLines reads the cache lines of what is in memory, for the next few records.
	PrefetchLines(keys [][]byte)
}

// Wanting appends those prefetchers to dst that want the rows of the next records read, and returns of how many.
func Wanting(dst []Prefetcher, of []Prefetcher) (wanting []Prefetcher, records int) {
	for _, p := range of {
		if n := p.RowsWanted(); n > 0 {
			dst, records = append(dst, p), max(records, n)
		}
	}
	return dst, records
}

// shelfPrefetcher is the Prefetcher of look-ups by the records' keys, or by keys made of records.
type rowPrefetcher struct {
	cache  *rowCache
	values bool
	made   func(dst, key, value []byte) []byte
	rows   rowsAhead
}

//go:noinline // see package comment
func (s *rowCache) prefetcher(values bool) func() Prefetcher {
	return func() Prefetcher { return &rowPrefetcher{cache: s, values: values} }
}

//go:noinline // see package comment
func (s *rowCache) prefetcherOf(made func(dst, key, value []byte) []byte) func() Prefetcher {
	return func() Prefetcher { return &rowPrefetcher{cache: s, made: made} }
}

func (p *rowPrefetcher) RowsWanted() int {
	if p.cache.complete {
		p.rows.release(p.cache.base.tx, false)
		return 0
	}
	return p.rows.wanted(p.cache)
}

func (p *rowPrefetcher) PrefetchRows(a *Ahead) int {
	p.rows.release(p.cache.base.tx, false)
	if p.cache.complete {
		return len(a.Keys)
	}
	if p.made == nil {
		return p.rows.read(p.cache, a.Keys)
	}
	keys, bytes := make([][]byte, len(a.Keys)), []byte{}
	for i := range keys {
		from := len(bytes)
		bytes = p.made(bytes, a.Keys[i], a.Values[i])
		keys[i] = bytes[from:len(bytes):len(bytes)]
	}
	return p.rows.read(p.cache, keys)
}

func (p *rowPrefetcher) LinesWanted() bool { return p.made == nil && p.cache.Len() >= linesLeast }

func (p *rowPrefetcher) PrefetchLines(keys [][]byte) {
	if p.LinesWanted() {
		p.cache.prefetchLines(keys, p.values)
	}
}

// linesLeast is from how many entries on a table is so large that its cache lines are not near anyway.
const linesLeast = 1 << 13

// prefetchLines reads cache lines ahead of their use; values tells that the values will be read, too.
func (s *rowCache) prefetchLines(keys [][]byte, values bool) {
	var hashes [table.PrefetchMax]uint64
	var near [table.PrefetchMax]*table.Entry
	for len(keys) > 0 {
		n := min(len(keys), table.PrefetchMax)
		for i, key := range keys[:n] {
			hashes[i] = s.Hash(key)
		}
		found, sum := s.Prefetch(hashes[:n], &near)
		if v, ok := s.storage.(*boxedValues); ok && values {
			sum += v.prefetchLines(near[:found])
		}
		s.near += sum
		keys = keys[n:]
	}
}

// linesPrefetcher is the Prefetcher of what is in memory anyway.
type linesPrefetcher func(keys [][]byte)

// Lines makes Prefetchers that do no more than f does in PrefetchLines.
func Lines(f func(keys [][]byte)) func() Prefetcher {
	return func() Prefetcher { return linesPrefetcher(f) }
}

func (linesPrefetcher) RowsWanted() int               { return 0 }
func (linesPrefetcher) PrefetchRows(a *Ahead) int     { return len(a.Keys) }
func (linesPrefetcher) LinesWanted() bool             { return true }
func (f linesPrefetcher) PrefetchLines(keys [][]byte) { f(keys) }

// noLines is the part of a Prefetcher that reads rows only.
type noLines struct{}

func (noLines) LinesWanted() bool      { return false }
func (noLines) PrefetchLines([][]byte) {}

// prefetch is for keys that the program names: n of them, which encode returns one by one. It returns for how many
// there is nothing more to do.
func (s *rowCache) prefetch(n int, encode func(i int) ([]byte, error)) int {
	if s.complete {
		return n
	}
	s.named.release(s.base.tx, false)
	n = min(n, s.named.most(s))
	keys, bytes := make([][]byte, 0, n), []byte{}
	for i := range n {
		b, err := encode(i)
		if err != nil {
			break // the look-up says so
		}
		from := len(bytes)
		bytes = append(bytes, b...)
		keys = append(keys, bytes[from:len(bytes):len(bytes)])
	}
	return s.named.read(s, keys)
}

// RowsAheadMax is how many rows of a store may be read ahead now, once those that were read before are released; 0: the
// store is not open, or nearly all look-ups find their rows in memory.
func (tx *Tx) RowsAheadMax(store string) (most int) {
	m, ok := tx.byName[store]
	if !ok {
		return 0
	}
	for t := range m.caches {
		if s, ok := t.(*rowCache); ok && !s.complete {
			most = max(most, s.named.wanted(s))
		}
	}
	return most
}

// flushStep is how far a flush proceeds before it asks again whether rows should be read ahead.
const flushStep = 256

// prefetch prepares the look-ups that the dirty list leads to from a position on. It returns up to where.
func (r *storeBase) prefetch(from int) (to int) {
	var some [4]Prefetcher
	wanting, want := Wanting(some[:0], r.prefetchers)
	if want == 0 {
		return from + flushStep
	}
	want = min(want, AheadRecordsMax, len(r.dirtyList)-from)
	a, places := &Ahead{Keys: make([][]byte, 0, want)}, make([]int, 0, want)
	for to = from; to < len(r.dirtyList) && len(a.Keys) < want; to++ {
		s, index := r.caches[r.dirtyList[to]>>32], uint32(r.dirtyList[to])
		if dirtyAt := s.dirtyAt(index); dirtyAt != nil && *dirtyAt == uint32(to+1) {
			key, _ := s.view(index)
			a.Keys, places = append(a.Keys, key), append(places, to)
		}
	}
	read := 0
	for _, p := range wanting {
		done := p.PrefetchRows(a)
		read = max(read, done)
		if done > 0 && done < len(places) {
			to = min(to, places[done])
		}
	}
	if read == 0 && len(places) > 0 { // there is no memory now
		to = min(to, from+flushStep)
	}
	return to
}
