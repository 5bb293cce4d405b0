package table

// PrefetchMax is how many keys Prefetch takes at a time.
const PrefetchMax = 64

// Prefetch reads the cache lines that finding keys will need. It goes over the keys several times, first for their
// slots, then for their entries: so the reads of one pass depend on nothing that is still on its way, and their misses
// overlap. It writes the entries to near, and returns how many they are: an entry whose hash is but nearly the same may
// be among them. sum is a number that depends on all that was read, for the caller to keep: otherwise the compiler
// would leave the reads out.
func (t *Table) Prefetch(hashes []uint64, near *[PrefetchMax]*Entry) (n int, sum uint32) {
	mask := uint32(len(t.slots) - 1)
	for _, hash := range hashes {
		sum += uint32(t.slots[uint32(hash>>32)>>t.shift&mask])
	}
	for _, hash := range hashes {
		tag := uint32(hash >> 32)
		at := tag >> t.shift
		slot := t.slots[at&mask]
		for slot != 0 && uint32(slot>>32) != tag {
			at++
			slot = t.slots[at&mask]
		}
		if slot != 0 {
			near[n] = t.At(uint32(slot) - 1)
			n++
		}
	}
	for _, e := range near[:n] {
		sum += uint32(*(*uint64)(t.Payload(e))) + uint32(e.key[InlineBytes-1]) // the first byte and the last
	}
	return n, sum
}
