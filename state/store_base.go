package state

import (
	"hash/maphash"
	"math"
	"slices"

	"thalweg/internal/invariant"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// storeBase is what the caches of one store share: the store's identity, its dirty list and scratch space.
//
// The dirty list has each change of a store that emits on commit, in order. An entry knows its last position in the
// list (DirtyAt), so all earlier positions are stale. That gives the order of each key's last change for one append a
// change.
type storeBase struct {
	tx                 *Tx
	store              Store
	made               Spec
	name               string
	prefix             []byte // of the store in the engine, without the kind
	persistent         bool   // the engine holds what was checkpointed
	logged             bool   // there is a changelog
	strict             bool   // see Tx.Strict
	writesOwnChangelog bool   // the store writes its changelog itself
	seed               maphash.Seed

	dirtyFlags table.Flags // the flags that a changed entry must have
	flushOrder int

	dirtyList     []uint64 // cache number << 32 | entry
	awaitingFlush int      // entries with changes that no flush has emitted
	prefetchers   []Prefetcher
	prefetchedTo  int // up to where in the dirty list prefetchers know the keys
	caches        []*rowCache

	key    []byte // scratch: engine and changelog keys
	value  []byte // scratch: encoded values
	fetch  []byte // scratch: what the engine returned
	sorter table.Sorter
	scans  int // scans in progress: entries must not move
	// Entries to free after the scans: cache number << 32 | entry.
	toFree  []uint64
	visited int // entries and rows that searches have visited, for tests
	missed  int // look-ups that had to ask the engine
}

const dirtyListMin = 1024

//go:noinline // see package comment
func (r *storeBase) prefetchOnFlush() func([]Prefetcher) {
	return func(p []Prefetcher) { r.prefetchers = p }
}

// scratchBytes is the memory of the scratch space and the dirty list.
func (r *storeBase) scratchBytes() int64 {
	return int64(cap(r.key)+cap(r.value)+cap(r.fetch)) + int64(cap(r.dirtyList))*8 + r.sorter.Bytes()
}

// dropScratch frees the large parts of the scratch space.
func (r *storeBase) dropScratch() {
	r.sorter = table.Sorter{}
	if len(r.dirtyList) == 0 {
		r.dirtyList = nil
	}
}

// keyRows is where the engine keeps the rows of a store that has all keys in one cache.
func (r *storeBase) keyRows() []byte { return append(slices.Clone(r.prefix), layout.KindKey) }

// segmentsRow is where the engine keeps a number for the store: the length of its segments, or its stream time.
func (r *storeBase) segmentsRow() []byte { return append(slices.Clone(r.prefix), layout.KindSegments) }

// hash hashes a key for the tables of all segments.
func (r *storeBase) hash(key []byte) uint64 { return maphash.Bytes(r.seed, key) }

// markDirty appends a change to the dirty list. at is the entry's last position in it, plus 1.
func (r *storeBase) markDirty(number, index uint32, at *uint32) {
	if n := uint32(len(r.dirtyList)); n == *at && n > 0 {
		return // it is the newest already
	}
	if len(r.dirtyList) == cap(r.dirtyList) && len(r.dirtyList) > dirtyListMin+2*r.awaitingFlush {
		r.compactDirtyList()
	}
	r.dirtyList = append(r.dirtyList, uint64(number)<<32|uint64(index))
	*at = uint32(len(r.dirtyList))
}

// compactDirtyList removes the stale positions from the dirty list.
func (r *storeBase) compactDirtyList() {
	kept := r.dirtyList[:0]
	for i, at := range r.dirtyList {
		dirtyAt := r.caches[at>>32].dirtyAt(uint32(at))
		if dirtyAt != nil && *dirtyAt == uint32(i+1) {
			kept = append(kept, at)
			*dirtyAt = uint32(len(kept))
		}
	}
	r.dirtyList = kept
}

// flush calls the listener for each key that changed, and reports whether any did.
func (r *storeBase) flush() (bool, error) {
	if len(r.dirtyList) == 0 {
		return false, nil
	}
	if r.prefetchedTo = 0; len(r.prefetchers) == 0 {
		r.prefetchedTo = math.MaxInt
	}
	for i := 0; i < len(r.dirtyList); i++ { // grows when the listener changes the same store
		if i >= r.prefetchedTo {
			r.prefetchedTo = r.prefetch(i)
		}
		cache, index := r.caches[r.dirtyList[i]>>32], uint32(r.dirtyList[i])
		if dirtyAt := cache.dirtyAt(index); dirtyAt == nil || *dirtyAt != uint32(i+1) {
			continue
		}
		if err := cache.emit(index); err != nil {
			return true, err
		}
	}
	invariant.Check(r.awaitingFlush == 0, "store %q: %d entries wait after a flush", r.name, r.awaitingFlush)
	r.dropDirtyList()
	return true, nil
}

// endScan ends a scan. After the last one it frees the entries that a scan had to keep.
func (r *storeBase) endScan() {
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

func (r *storeBase) dropDirtyList() {
	r.dirtyList, r.awaitingFlush = r.dirtyList[:0], 0
	for _, p := range r.prefetchers {
		p.PrefetchRows(&Ahead{})
	}
}

func (r *storeBase) addCache(s *rowCache) uint32 {
	for i := range r.caches {
		if r.caches[i] == nil {
			r.caches[i] = s
			return uint32(i)
		}
	}
	r.caches = append(r.caches, s)
	return uint32(len(r.caches) - 1)
}

// byteArena copies bytes to memory that is never reused, so callers may keep views of it. A view that is kept pins its
// chunk.
type byteArena struct{ chunk []byte }

const byteArenaChunkBytes = 32 << 10

func (s *byteArena) copy(b []byte) []byte {
	if s.chunk == nil || len(b) > cap(s.chunk)-len(s.chunk) { // never nil: empty is not null
		if len(b) > byteArenaChunkBytes/4 {
			return append(make([]byte, 0, len(b)), b...)
		}
		s.chunk = make([]byte, 0, byteArenaChunkBytes)
	}
	from := len(s.chunk)
	s.chunk = append(s.chunk, b...)
	return s.chunk[from:len(s.chunk):len(s.chunk)]
}
