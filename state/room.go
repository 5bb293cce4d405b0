package state

import (
	"hash/maphash"
	"math"
	"slices"

	"thalweg/internal/invariant"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// room is what the caches of one store share: the store's identity, its flush journal and scratch space.
//
// The journal lists each change of a store that emits on commit, in order. An entry knows its last turn in it, so the
// turns before are recognised as stale: that is the order of each key's last change at the cost of one append.
type room struct {
	tx         *Tx
	store      Store
	made       Spec
	name       string
	prefix     []byte // of the store in the engine, without the kind
	persistent bool   // the engine holds what was checkpointed
	logged     bool   // there is a changelog
	strict     bool   // see Tx.Strict
	silent     bool   // the store writes its changelog itself
	seed       maphash.Seed

	needed table.Flags // the marks that a changed entry must have
	rank   int

	journal []uint64 // cache number << 32 | entry
	live    int      // entries that wait for a flush
	ahead   []Prefetcher
	told    int // up to where in the journal ahead knows of what comes
	caches  []*rowCache

	key    []byte // scratch: engine and changelog keys
	value  []byte // scratch: encoded values
	fetch  []byte // scratch: what the engine returned
	sorter table.Sorter
	scans  int // scans under way: entries must stay
	// Entries to free after the scans: cache number << 32 | entry.
	toFree []uint64
	visits int // entries and rows that searches have passed, for tests
	missed int // look-ups that had to ask the engine
}

const journalMin = 1024

//go:noinline // see package comment
func (r *room) prefetchOnFlush() func([]Prefetcher) {
	return func(p []Prefetcher) { r.ahead = p }
}

// scratchBytes is the memory that the store keeps for its work.
func (r *room) scratchBytes() int64 {
	return int64(cap(r.key)+cap(r.value)+cap(r.fetch)) + int64(cap(r.journal))*8 + r.sorter.Bytes()
}

// dropScratch gives up what is large of it.
func (r *room) dropScratch() {
	r.sorter = table.Sorter{}
	if len(r.journal) == 0 {
		r.journal = nil
	}
}

// keyRows is where the engine keeps the rows of a store that has all keys in one cache.
func (r *room) keyRows() []byte { return append(slices.Clone(r.prefix), layout.KindKey) }

// segmentsRow is where the engine keeps a number for the store: the length of its segments, or its stream time.
func (r *room) segmentsRow() []byte { return append(slices.Clone(r.prefix), layout.KindSegments) }

// hash hashes a key for the tables of all segments.
func (r *room) hash(key []byte) uint64 { return maphash.Bytes(r.seed, key) }

// record appends a change to the journal.
func (r *room) record(number, index uint32, turn *uint32) {
	if n := uint32(len(r.journal)); n == *turn && n > 0 {
		return // it is the newest already
	}
	if len(r.journal) == cap(r.journal) && len(r.journal) > journalMin+2*r.live {
		r.compact()
	}
	r.journal = append(r.journal, uint64(number)<<32|uint64(index))
	*turn = uint32(len(r.journal))
}

// compact takes the stale turns out of the journal.
func (r *room) compact() {
	kept := r.journal[:0]
	for i, at := range r.journal {
		turn := r.caches[at>>32].turn(uint32(at))
		if turn != nil && *turn == uint32(i+1) {
			kept = append(kept, at)
			*turn = uint32(len(kept))
		}
	}
	r.journal = kept
}

// flush calls the listener for each key that changed, and tells whether there was one.
func (r *room) flush() (bool, error) {
	if len(r.journal) == 0 {
		return false, nil
	}
	if r.told = 0; len(r.ahead) == 0 {
		r.told = math.MaxInt
	}
	for i := 0; i < len(r.journal); i++ { // grows when the listener changes the same store
		if i >= r.told {
			r.told = r.prefetch(i)
		}
		cache, index := r.caches[r.journal[i]>>32], uint32(r.journal[i])
		if turn := cache.turn(index); turn == nil || *turn != uint32(i+1) {
			continue
		}
		if err := cache.sender(index); err != nil {
			return true, err
		}
	}
	invariant.Check(r.live == 0, "store %q: %d entries wait after a flush", r.name, r.live)
	r.forget()
	return true, nil
}

// endScan ends a scan, after which entries may go that had to stay.
func (r *room) endScan() {
	if r.scans--; r.scans > 0 {
		return
	}
	for _, at := range r.toFree {
		if cache := r.caches[at>>32]; cache != nil {
			cache.freeUncommitted(uint32(at))
		}
	}
	r.toFree = r.toFree[:0]
}

func (r *room) forget() {
	r.journal, r.live = r.journal[:0], 0
	for _, p := range r.ahead {
		p.PrefetchRows(&Ahead{})
	}
}

func (r *room) enroll(s *rowCache) uint32 {
	for i := range r.caches {
		if r.caches[i] == nil {
			r.caches[i] = s
			return uint32(i)
		}
	}
	r.caches = append(r.caches, s)
	return uint32(len(r.caches) - 1)
}

// stable copies bytes to memory that is never used again, so that views of it may be kept for ever. A kept view keeps
// its chunk.
type stable struct{ chunk []byte }

const stableChunkBytes = 32 << 10

func (s *stable) copy(b []byte) []byte {
	if s.chunk == nil || len(b) > cap(s.chunk)-len(s.chunk) { // never nil: empty is not null
		if len(b) > stableChunkBytes/4 {
			return append(make([]byte, 0, len(b)), b...)
		}
		s.chunk = make([]byte, 0, stableChunkBytes)
	}
	from := len(s.chunk)
	s.chunk = append(s.chunk, b...)
	return s.chunk[from:len(s.chunk):len(s.chunk)]
}
