// Package table is the hash table of the stores: byte keys, and entries that hold a timestamp, the marks that a store
// keeps about them, and a payload.
//
// A payload is so many bytes of memory without pointers, and the table does not know what is in it: one table serves
// all types, which the compiler would otherwise pay for type by type. The garbage collector looks at a table of ten
// million keys in well under a millisecond.
//
//	slots    [tag 32 | index+1 32] …        open addressing, linear probing; a slot's home is the top bits of its
//	                                        tag, so that growing and deleting never look at an entry
//	entries  chunks of a fixed size         never moved (but for a small first chunk), so a reader pays one cache
//	         payload | time | … | key       line for a slot and one or two for an entry
//	keys     28 bytes inside the entry; longer ones lie in an arena of byte chunks: [position 8 | first 20 bytes]
//
// A table belongs to one goroutine.
package table

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"unsafe"

	"thalweg/internal/invariant"
)

const (
	// InlineBytes is the length of the longest key that lies inside its entry.
	InlineBytes = 28
	// KeyBytesMax is the length of the longest key.
	KeyBytesMax = 1<<24 - 1

	inlinePrefix    = InlineBytes - 8 // bytes of a long key that its entry repeats
	chunkBytes      = 64 << 10
	firstChunk      = 8 // entries
	arenaChunkLeast = 1 << 10
	arenaChunkBytes = 64 << 10
	slotsMin        = 16
)

// Flags are the marks of an entry.
type Flags uint8

// An entry's marks.
const (
	Present         Flags = 1 << iota // the key has a value; otherwise it is known to have none
	DirtyCommit                       // changed since the last drain
	DirtyFlush                        // changed since the last flush
	DirtyCheckpoint                   // committed, and the engine does not have it
	Used                              // read or written since the clock's hand passed
	Listed                            // stands in the ordered index
	taken                             // the entry is in use
	Pinned                            // read ahead, or found there: it stays until it is used, or its reader lets it go

	// Dirty is every mark that keeps an entry in memory.
	Dirty = DirtyCommit | DirtyFlush | DirtyCheckpoint
)

// Entry is one key of a table. Its payload lies before it in memory.
type Entry struct {
	Timestamp int64
	Image     uint32 // the owner's: where it keeps the entry's earlier state
	DirtyAt   uint32 // the owner's: the entry's last position in its dirty list; links free entries
	meta      uint32 // key length << 8 | flags
	key       [InlineBytes]byte
}

const entryBytes = unsafe.Sizeof(Entry{})

// Flags returns the marks.
func (e *Entry) Flags() Flags { return Flags(e.meta) }

// Has tells whether one of the marks is set.
func (e *Entry) Has(f Flags) bool { return Flags(e.meta)&f != 0 }

// InUse tells whether the entry stands for a key.
func (e *Entry) InUse() bool { return e.Has(taken) }

// Mark sets marks.
func (e *Entry) Mark(f Flags) { e.meta |= uint32(f) }

// Clear takes marks away.
func (e *Entry) Clear(f Flags) { e.meta &^= uint32(f) }

// Use marks an entry as used, for which it may have been pinned.
func (e *Entry) Use() { e.meta = e.meta&^uint32(Pinned) | uint32(Used) }

// Table is the hash table. The zero value is not ready: see New.
type Table struct {
	slots []uint64
	shift uint // 32 - log2(len(slots))
	grow  int  // number of entries at which the slots double

	expected int // see Reserve

	words      uint32           // of an entry with its payload; a word is 8 bytes
	payload    uint32           // words of a payload
	first      []unsafe.Pointer // entry of each chunk
	chunks     [][]uint64       // entries, one after the other
	chunkShift uint
	chunkMask  uint32
	next       uint32 // first index never used
	free       uint32 // 1 + first free index; linked by DirtyAt
	count      int
	hand       uint32 // of the clock

	arena      [][]byte
	arenaBytes int
	deadBytes  int
	seed       maphash.Seed
	skip       int
	crowds     map[uint64]*crowd // by the hash of the head
	pivot      []byte            // scratch
}

// New returns an empty table whose entries have so many bytes of payload. Tables that are to be asked with the same
// hash share a seed. The last skip bytes of each key are left out of its hash, so that Range can walk the keys
// that differ in them alone; where those are many they become a crowd.
func New(seed maphash.Seed, skip int, payloadBytes uintptr) *Table {
	payload := max(1, uint32(payloadBytes+7)/8) // a pointer to none would point elsewhere
	t := &Table{seed: seed, skip: skip, payload: payload, words: payload + uint32(entryBytes/8)}
	for t.chunkShift = 4; int(t.words)*8<<(t.chunkShift+1) <= chunkBytes; t.chunkShift++ {
	}
	t.chunkMask = 1<<t.chunkShift - 1
	t.resize(slotsMin)
	return t
}

// Len is the number of entries.
func (t *Table) Len() int { return t.count }

// Bytes is the memory that the table holds.
func (t *Table) Bytes() int64 {
	words := 0
	if n := len(t.chunks); n > 0 {
		words = t.chunkWords()*(n-1) + len(t.chunks[n-1])
	}
	bytes := int64(words)*8 + int64(len(t.slots))*8 + int64(t.arenaBytes)
	if n := len(t.arena); n > 0 {
		bytes += int64(cap(t.arena[n-1]) - len(t.arena[n-1]))
	}
	return bytes + t.crowdBytes()
}

// LiveBytes is the memory that the entries in use hold: what shrinks when entries are freed.
func (t *Table) LiveBytes() int64 {
	return int64(t.count)*int64(t.words*8+16) + int64(t.arenaBytes-t.deadBytes) + t.crowdBytes()
}

// Holds tells whether there is an entry of an index, in use or free.
func (t *Table) Holds(index uint32) bool { return index < t.next }

func (t *Table) chunkWords() int { return int(t.words) << t.chunkShift }

// Hash hashes the head of a key: all but its last bytes, which the table leaves out.
func (t *Table) Hash(key []byte) uint64 { return maphash.Bytes(t.seed, key[:len(key)-t.skip]) }

// At returns the entry of an index. The pointer is valid until the next Insert.
func (t *Table) At(index uint32) *Entry {
	return (*Entry)(unsafe.Add(t.first[index>>t.chunkShift], uintptr(index&t.chunkMask)*uintptr(t.words)*8))
}

// Payload points at the payload of an entry. It is aligned to 8 bytes.
func (t *Table) Payload(e *Entry) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(e), -int(t.payload*8))
}

// Words returns the payload of an entry, to be copied.
func (t *Table) Words(e *Entry) []uint64 { return unsafe.Slice((*uint64)(t.Payload(e)), t.payload) }

// PayloadWords is the size of a payload, in 8 bytes.
func (t *Table) PayloadWords() int { return int(t.payload) }

// reset makes an entry a new one.
func (t *Table) reset(e *Entry, as Entry) {
	*e = as
	clear(t.Words(e))
}

// Key returns the key of an entry: a view that is valid as long as the entry is in use.
func (t *Table) Key(e *Entry) []byte {
	n := e.meta >> 8
	if n <= InlineBytes {
		return unsafe.Slice(&e.key[0], n)
	}
	return t.longKey(e, n)
}

func (t *Table) longKey(e *Entry, n uint32) []byte {
	at := binary.NativeEndian.Uint64(e.key[:8])
	chunk := t.arena[at>>32]
	return chunk[uint32(at) : uint32(at)+n : uint32(at)+n]
}

// KeyStays reports whether the view that Key returns never changes, even after the entry is freed.
func (t *Table) KeyStays(e *Entry) bool { return e.meta>>8 > InlineBytes }

// Find returns the index of a key.
func (t *Table) Find(hash uint64, key []byte) (index uint32, found bool) {
	if t.crowds != nil {
		_, hash = t.crowdOf(hash, key)
	}
	tag := uint32(hash >> 32)
	at := tag >> t.shift
	mask := uint32(len(t.slots) - 1)
	for {
		slot := t.slots[at&mask]
		if slot == 0 {
			return 0, false
		}
		if uint32(slot>>32) == tag {
			index = uint32(slot) - 1
			if t.equal(t.At(index), key) {
				return index, true
			}
		}
		at++
	}
}

// equal compares by words that overlap: a call of the general comparison costs more than the whole probe.
func (t *Table) equal(e *Entry, key []byte) bool {
	n := len(key)
	if int(e.meta>>8) != n {
		return false
	}
	switch {
	case n > InlineBytes:
		return string(e.key[8:]) == string(key[:inlinePrefix]) && string(t.longKey(e, uint32(n))) == string(key)
	case n > 16:
		middle := min(16, n-8)
		return word(e.key[0:]) == word(key[0:]) && word(e.key[8:]) == word(key[8:]) &&
			word(e.key[middle:]) == word(key[middle:]) && word(e.key[n-8:]) == word(key[n-8:])
	case n >= 8:
		return word(e.key[0:]) == word(key[0:]) && word(e.key[n-8:]) == word(key[n-8:])
	default:
		return string(e.key[:n]) == string(key)
	}
}

func word(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// Insert adds a key that is not there. The entry's payload is zero, and it has no marks. Pointers to entries become
// invalid. The key is copied.
func (t *Table) Insert(hash uint64, key []byte) uint32 {
	invariant.Check(len(key) <= KeyBytesMax, "key of %d bytes", len(key))
	if t.count >= t.grow {
		t.resize(len(t.slots) * 2)
	}
	index := t.take()
	e := t.At(index)
	t.reset(e, Entry{meta: uint32(len(key))<<8 | uint32(taken)})
	if len(key) <= InlineBytes {
		copy(e.key[:], key)
	} else {
		binary.NativeEndian.PutUint64(e.key[:8], t.store(key))
		copy(e.key[8:], key)
	}
	t.count++
	var c *crowd
	if t.crowds != nil {
		c, hash = t.crowdOf(hash, key)
	}
	probes := t.place(slotOf(hash, index))
	if c != nil {
		c.Set(index)
	} else if probes > crowdProbes && t.skip > 0 {
		t.gather(hash)
	}
	return index
}

func (t *Table) take() uint32 {
	if t.free != 0 {
		index := t.free - 1
		t.free = t.At(index).DirtyAt
		return index
	}
	index := t.next
	t.next++
	switch chunk := int(index >> t.chunkShift); {
	case chunk == len(t.chunks) && chunk == 0:
		t.addChunk(make([]uint64, min(max(firstChunk, t.expected), 1<<t.chunkShift)*int(t.words)))
	case chunk == len(t.chunks):
		t.addChunk(make([]uint64, t.chunkWords()))
	case chunk == 0 && int(index*t.words) == len(t.chunks[0]):
		larger := make([]uint64, min(len(t.chunks[0])/int(t.words)*5/4+firstChunk, 1<<t.chunkShift)*int(t.words))
		copy(larger, t.chunks[0])
		t.chunks, t.first = t.chunks[:0], t.first[:0]
		t.addChunk(larger)
	}
	return index
}

func (t *Table) addChunk(chunk []uint64) {
	t.chunks = append(t.chunks, chunk)
	t.first = append(t.first, unsafe.Pointer(&chunk[t.payload]))
}

func slotOf(hash uint64, index uint32) uint64 { return uint64(uint32(hash>>32))<<32 | uint64(index+1) }

// place puts a slot where it belongs, and returns how many others it has passed.
func (t *Table) place(slot uint64) (passed uint32) {
	mask := uint32(len(t.slots) - 1)
	home := uint32(slot>>32) >> t.shift
	at := home
	for t.slots[at&mask] != 0 {
		at++
	}
	t.slots[at&mask] = slot
	return at - home
}

func (t *Table) resize(size int) {
	old := t.slots
	t.slots = make([]uint64, size)
	t.shift = 32
	for n := size; n > 1; n >>= 1 {
		t.shift--
	}
	t.grow = size / 8 * 5
	for _, slot := range old {
		if slot != 0 {
			t.place(slot)
		}
	}
}

// Reserve makes the table large enough for about n entries, so that it need not grow on the way there.
func (t *Table) Reserve(n int) {
	t.expected = n
	size := len(t.slots)
	for size/8*5 < n {
		size *= 2
	}
	if size > len(t.slots) {
		t.resize(size)
	}
}

// Reset empties the table, which keeps its memory for entries to come. Only that of long keys goes: see KeyStays.
func (t *Table) Reset() {
	clear(t.slots)
	t.next, t.free, t.count, t.hand = 0, 0, 0, 0
	t.arena, t.arenaBytes, t.deadBytes = nil, 0, 0
	t.crowds = nil
}

// Delete frees an entry.
func (t *Table) Delete(index uint32) {
	e := t.At(index)
	invariant.Check(e.Has(taken), "entry %d freed twice", index)
	key := t.Key(e)
	hash := t.Hash(key)
	if t.crowds != nil {
		hash = t.leave(hash, key, index)
	}
	t.unplace(hash, index)
	if len(key) > InlineBytes {
		t.deadBytes += len(key)
	}
	t.reset(e, Entry{DirtyAt: t.free})
	t.free = index + 1
	t.count--
}

func (t *Table) unplace(hash uint64, index uint32) {
	mask := uint32(len(t.slots) - 1)
	slot := slotOf(hash, index)
	hole := (uint32(hash>>32) >> t.shift) & mask
	for t.slots[hole] != slot {
		hole = (hole + 1) & mask
	}
	for at := hole; ; {
		at = (at + 1) & mask
		next := t.slots[at]
		if next == 0 {
			break
		}
		home := uint32(next>>32) >> t.shift & mask
		if (at-home)&mask >= (at-hole)&mask { // the hole lies between its home and where it stands
			t.slots[hole] = next
			hole = at
		}
	}
	t.slots[hole] = 0
}

// All calls f with each entry in use, in the order of the indexes, until f returns false.
func (t *Table) All(f func(index uint32, e *Entry) bool) {
	for index := uint32(0); index < t.next; index++ {
		if e := t.At(index); e.Has(taken) && !f(index, e) {
			return
		}
	}
}

// Evict frees up to want entries that are not dirty, not listed, not pinned and that keep does not hold back, and were
// not used since the clock's hand passed last. It looks at no more than steps entries. freed gets each entry before it
// goes.
func (t *Table) Evict(want, steps int, keep func(*Entry) bool, freed func(*Entry)) (evicted int) {
	for ; steps > 0 && evicted < want && t.count > 0; steps-- {
		if t.hand >= t.next {
			t.hand = 0
		}
		index := t.hand
		e := t.At(index)
		t.hand++
		switch {
		case !e.Has(taken) || e.Has(Dirty|Listed|Pinned) || keep(e):
		case e.Has(Used):
			e.Clear(Used)
		default:
			freed(e)
			t.Delete(index)
			evicted++
		}
	}
	return evicted
}

// Compare orders two entries by their keys.
func (t *Table) Compare(a, b uint32) int {
	return bytes.Compare(t.Key(t.At(a)), t.Key(t.At(b)))
}

func (t *Table) store(key []byte) uint64 {
	last := len(t.arena) - 1
	if last < 0 || cap(t.arena[last])-len(t.arena[last]) < len(key) {
		size := min(max(t.arenaBytes, arenaChunkLeast), arenaChunkBytes)
		t.arena = append(t.arena, make([]byte, 0, max(size, len(key))))
		last++
	}
	at := uint64(last)<<32 | uint64(len(t.arena[last]))
	t.arena[last] = append(t.arena[last], key...)
	t.arenaBytes += len(key)
	return at
}

// Compact copies the long keys together when a part of their arena is dead: most of it, or tight, a tenth.
func (t *Table) Compact(tight bool) {
	dead := t.arenaBytes / 2
	if tight {
		dead = t.arenaBytes / 10
	} else {
		dead = max(dead, 1<<20)
	}
	if t.deadBytes == 0 || t.deadBytes < dead {
		return
	}
	old := *t
	t.arena, t.arenaBytes, t.deadBytes = nil, 0, 0
	t.All(func(_ uint32, e *Entry) bool {
		if n := e.meta >> 8; n > InlineBytes {
			binary.NativeEndian.PutUint64(e.key[:8], t.store(old.longKey(e, n)))
		}
		return true
	})
}
