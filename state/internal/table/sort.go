package table

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unsafe"
)

// item is an entry with the first eight bytes of its key behind what all keys have in common.
type item struct {
	prefix uint64
	index  uint32
}

// Sorter sorts entries by key. It keeps its memory for the next time.
type Sorter struct{ items, spare []item }

// Bytes is the memory that the sorter keeps.
func (s *Sorter) Bytes() int64 {
	return int64(cap(s.items)+cap(s.spare)) * int64(unsafe.Sizeof(item{}))
}

// Sort orders indexes by the keys of their entries.
func Sort(s *Sorter, t *Table, indexes []uint32) {
	s.Sort(indexes, func(index uint32) []byte { return t.Key(t.At(index)) })
}

// Sort orders indexes by their keys: a radix sort on eight bytes behind the common prefix, then a comparison of the
// keys that are equal there. Indexes with the same key keep their order.
func (s *Sorter) Sort(indexes []uint32, key func(index uint32) []byte) {
	if len(indexes) < 2 {
		return
	}
	common := commonPrefix(indexes, key)
	s.items = slices.Grow(s.items[:0], len(indexes))
	for _, index := range indexes {
		s.items = append(s.items, item{prefix: prefixAt(key(index), common), index: index})
	}
	s.radix()
	for from := 0; from < len(s.items); {
		to := from + 1
		for to < len(s.items) && s.items[to].prefix == s.items[from].prefix {
			to++
		}
		if to-from > 1 {
			slices.SortStableFunc(s.items[from:to], func(a, b item) int { return bytes.Compare(key(a.index), key(b.index)) })
		}
		from = to
	}
	for i := range s.items {
		indexes[i] = s.items[i].index
	}
}

func commonPrefix(indexes []uint32, key func(uint32) []byte) int {
	first := key(indexes[0])
	n := len(first)
	for _, index := range indexes[1:] {
		k := key(index)
		n = min(n, len(k))
		for i := range n {
			if k[i] != first[i] {
				n = i
				break
			}
		}
		if n == 0 {
			break
		}
	}
	return n
}

func prefixAt(key []byte, from int) uint64 {
	if len(key) >= from+8 {
		return binary.BigEndian.Uint64(key[from:])
	}
	var b [8]byte
	copy(b[:], key[from:])
	return binary.BigEndian.Uint64(b[:])
}

// radix sorts the items by prefix, least significant byte first, leaving out the bytes that do not differ.
func (s *Sorter) radix() {
	if len(s.items) < 64 {
		slices.SortStableFunc(s.items, func(a, b item) int {
			switch {
			case a.prefix < b.prefix:
				return -1
			case a.prefix > b.prefix:
				return 1
			default:
				return 0
			}
		})
		return
	}
	s.spare = slices.Grow(s.spare[:0], len(s.items))[:len(s.items)]
	var counts [8][256]uint32
	for i := range s.items {
		p := s.items[i].prefix
		for b := range counts {
			counts[b][byte(p>>(8*b))]++
		}
	}
	for b := range counts {
		count := &counts[b]
		if count[byte(s.items[0].prefix>>(8*b))] == uint32(len(s.items)) {
			continue
		}
		sum := uint32(0)
		for i := range count {
			count[i], sum = sum, sum+count[i]
		}
		for _, it := range s.items {
			at := &count[byte(it.prefix>>(8*b))]
			s.spare[*at] = it
			*at++
		}
		s.items, s.spare = s.spare, s.items
	}
}
