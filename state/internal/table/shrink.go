package table

import "unsafe"

// Shrink moves entries to the front and gives the memory behind them back, where that is a sixteenth of the table or
// more. moved gets the indexes of each entry that has another one afterwards. Indexes and pointers from before are
// invalid.
func (t *Table) Shrink(moved func(from, to uint32)) {
	if len(t.chunks) == 0 {
		return
	}
	inChunk := 1 << t.chunkShift
	chunks := max(1, (t.count+inChunk-1)>>t.chunkShift)
	limit := chunks << t.chunkShift
	if chunks == 1 {
		limit = min(t.count+t.count/8+firstChunk, inChunk)
	}
	if spare := len(t.chunks) - chunks; chunks > 1 && spare < max(1, len(t.chunks)/16) ||
		spare == 0 && len(t.chunks[0]) <= (limit+limit/8)*int(t.words) {
		return
	}
	t.moveBelow(uint32(limit), moved)
	clear(t.chunks[chunks:])
	clear(t.first[chunks:])
	t.chunks, t.first = t.chunks[:chunks], t.first[:chunks]
	if words := limit * int(t.words); chunks == 1 && words < len(t.chunks[0]) {
		smaller := make([]uint64, words)
		copy(smaller, t.chunks[0])
		t.chunks, t.first = nil, nil
		t.addChunk(smaller)
	}
	size := slotsMin
	for size/8*5 <= t.count {
		size *= 2
	}
	if 2*size <= len(t.slots) {
		t.resize(size)
	}
}

// moveBelow moves all entries below limit, and links the free ones there.
func (t *Table) moveBelow(limit uint32, moved func(from, to uint32)) {
	hole := uint32(0)
	for from := limit; from < t.next; from++ {
		if e := t.At(from); e.Has(taken) {
			for t.At(hole).Has(taken) {
				hole++
			}
			t.move(from, hole)
			moved(from, hole)
		}
	}
	t.next, t.free, t.hand = min(t.next, limit), 0, 0
	for index := t.next; index > 0; index-- {
		if e := t.At(index - 1); !e.Has(taken) {
			e.DirtyAt = t.free
			t.free = index
		}
	}
}

func (t *Table) move(from, to uint32) {
	e := t.At(from)
	crowd, hash := t.crowdOf(t.Hash(t.Key(e)), t.Key(e))
	if crowd != nil {
		crowd.Delete(from)
	}
	mask := uint32(len(t.slots) - 1)
	at := uint32(hash>>32) >> t.shift & mask
	for slot := slotOf(hash, from); t.slots[at] != slot; {
		at = (at + 1) & mask
	}
	t.slots[at] = slotOf(hash, to)
	copy(t.all(t.At(to)), t.all(e))
	if crowd != nil {
		crowd.Set(to)
	}
}

// EntryBytes is the memory of an entry with its payload and its slots.
func (t *Table) EntryBytes() int64 { return int64(t.words)*8 + 16 }

// Spare is how many entries can be inserted before the table grows.
func (t *Table) Spare() int {
	words := 0
	if n := len(t.chunks); n > 0 {
		words = t.chunkWords()*(n-1) + len(t.chunks[n-1])
	}
	return min(words/int(t.words), t.grow) - t.count
}

// all is the memory of an entry with its payload.
func (t *Table) all(e *Entry) []uint64 { return unsafe.Slice((*uint64)(t.Payload(e)), t.words) }
