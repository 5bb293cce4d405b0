package state

import "encoding/binary"

// filter recognizes most keys that are not in a set. It is a Bloom filter whose bits of one key lie in
// one block, and so costs one cache line a question. A filter of no bytes says nothing.
type filter []byte

const (
	filterBlock   = 64 // bytes
	filterKeyBits = 12 // of a key's share of the filter
	filterProbes  = 6
)

// newFilter returns a filter for so many keys.
func newFilter(keys int) filter {
	blocks := (keys*filterKeyBits + filterBlock*8 - 1) / (filterBlock * 8)
	return make(filter, max(blocks, 1)*filterBlock)
}

// filterHash is the same in all processes: filters are kept.
func filterHash(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for ; len(key) >= 8; key = key[8:] {
		h = (h ^ binary.LittleEndian.Uint64(key)) * 1099511628211
		h ^= h >> 29
	}
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func (f filter) block(hash uint64) []byte {
	at := (hash >> 32) * uint64(len(f)/filterBlock) >> 32 * filterBlock
	return f[at : at+filterBlock]
}

func (f filter) add(hash uint64) {
	block, bits := f.block(hash), hash*0xff51afd7ed558ccd
	for range filterProbes {
		block[bits>>58] |= 1 << (bits >> 55 & 7)
		bits <<= 9
	}
}

// may tells whether a key may be there.
func (f filter) may(hash uint64) bool {
	if len(f) == 0 {
		return true
	}
	block, bits := f.block(hash), hash*0xff51afd7ed558ccd
	for range filterProbes {
		if block[bits>>58]&(1<<(bits>>55&7)) == 0 {
			return false
		}
		bits <<= 9
	}
	return true
}
