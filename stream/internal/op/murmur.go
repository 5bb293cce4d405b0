package op

import (
	"encoding/binary"
	"math/bits"
)

// murmurSeed is Kafka Streams' own.
const murmurSeed = 104729

// murmur128 is the 128 bits of MurmurHash3 for machines of 64 bits, both halves big-endian, as Kafka Streams writes
// them.
func murmur128(data []byte) (sum [16]byte) {
	h1, h2 := uint64(murmurSeed), uint64(murmurSeed)
	rest := data
	for ; len(rest) >= 16; rest = rest[16:] {
		h1 ^= murmurFirst(binary.LittleEndian.Uint64(rest))
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= murmurSecond(binary.LittleEndian.Uint64(rest[8:]))
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	var tail [16]byte
	copy(tail[:], rest)
	h1 ^= murmurFirst(binary.LittleEndian.Uint64(tail[:])) // zero of nothing
	h2 ^= murmurSecond(binary.LittleEndian.Uint64(tail[8:]))
	h1, h2 = h1^uint64(len(data)), h2^uint64(len(data))
	h1 += h2
	h2 += h1
	h1, h2 = murmurMix(h1), murmurMix(h2)
	h1 += h2
	h2 += h1
	binary.BigEndian.PutUint64(sum[:], h1)
	binary.BigEndian.PutUint64(sum[8:], h2)
	return sum
}

const (
	murmurA = 0x87c37b91114253d5
	murmurB = 0x4cf5ad432745937f
)

func murmurFirst(k uint64) uint64 { return bits.RotateLeft64(k*murmurA, 31) * murmurB }

func murmurSecond(k uint64) uint64 { return bits.RotateLeft64(k*murmurB, 33) * murmurA }

func murmurMix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
