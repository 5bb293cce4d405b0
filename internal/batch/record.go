package batch

import (
	"fmt"
	"math/bits"
)

// Header is one header of a record. A nil Value is null, which is not the same as an empty one.
type Header struct {
	Key   string
	Value []byte
}

// Record is one decoded record. Key and Value are read-only views of the batch; nil means null.
type Record struct {
	Offset    int64
	Timestamp int64 // milliseconds since 1970
	Key       []byte
	Value     []byte

	headers []byte // the encoded headers after their number; a view like Key
	nHeader int32
}

// HasHeaders tells whether the record carries headers, without decoding them.
func (r *Record) HasHeaders() bool { return r.nHeader > 0 }

// Headers decodes the headers and appends them to dst. Values are views of the batch; keys are copies.
func (r *Record) Headers(dst []Header) ([]Header, error) {
	src, i := r.headers, 0
	for n := range r.nHeader {
		key, next := lengthPrefixed(src, i)
		if next < 0 || key == nil {
			return dst, fmt.Errorf("%w: header %d of the record at offset %d", ErrCorrupt, n, r.Offset)
		}
		value, next := lengthPrefixed(src, next)
		if next < 0 {
			return dst, fmt.Errorf("%w: header %d of the record at offset %d", ErrCorrupt, n, r.Offset)
		}
		dst = append(dst, Header{Key: string(key), Value: value})
		i = next
	}
	if i != len(src) {
		return dst, fmt.Errorf("%w: %d bytes after the headers of the record at offset %d",
			ErrCorrupt, len(src)-i, r.Offset)
	}
	return dst, nil
}

// lengthPrefixed reads a varint length and as many bytes at src[i:]. -1 means null: the slice is nil. It returns -1 as
// the next position when src does not hold that much.
func lengthPrefixed(src []byte, i int) (field []byte, next int) {
	var size uint64
	switch {
	case uint(i) < uint(len(src)) && src[i] < 0x80:
		size = uint64(src[i])
		i++
	case i >= 0 && i+1 < len(src) && src[i+1] < 0x80:
		size = uint64(src[i]&0x7f) | uint64(src[i+1])<<7
		i += 2
	default:
		if size, i = uvarintLong(src, i); i < 0 {
			return nil, -1
		}
	}
	if size&1 != 0 {
		if size == 1 {
			return nil, i
		}
		return nil, -1
	}
	if size>>1 > uint64(len(src)-i) {
		return nil, -1
	}
	end := i + int(size>>1)
	return src[i:end:end], end
}

// varint reads a zigzag varint at src[i:] and returns the position after it, -1 when there is none. A position of -1 as
// input gives -1, so that several reads can be checked once.
func varint(src []byte, i int) (int64, int) {
	u, i := uvarint(src, i)
	return unzigzag(u), i
}

// uvarint is varint before the zigzag is undone: the part that the compiler inlines.
func uvarint(src []byte, i int) (uint64, int) {
	if uint(i) < uint(len(src)) && src[i] < 0x80 {
		return uint64(src[i]), i + 1
	}
	return uvarintLong(src, i)
}

//go:noinline
func uvarintLong(src []byte, i int) (uint64, int) {
	if i < 0 {
		return 0, -1
	}
	if len(src)-i >= 2 && src[i+1] < 0x80 { // most lengths, and most deltas
		return uint64(src[i]&0x7f) | uint64(src[i+1])<<7, i + 2
	}
	var u uint64
	for shift := 0; shift < 64 && i < len(src); shift += 7 {
		c := src[i]
		i++
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, -1
			}
			return u, i
		}
	}
	return 0, -1
}

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// putUvarint writes u at dst[i:] and returns the position after it. The caller has made room.
func putUvarint(dst []byte, i int, u uint64) int {
	if u < 0x80 {
		dst[i] = byte(u)
		return i + 1
	}
	return putUvarintLong(dst, i, u)
}

func putUvarintLong(dst []byte, i int, u uint64) int {
	for u >= 0x80 {
		dst[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	dst[i] = byte(u)
	return i + 1
}

// varint2 returns the bytes of a u below 1<<14, in the order of little endian, and how many they are.
func varint2(u uint64) (bytes, size uint64) {
	if u < 0x80 {
		return u, 1
	}
	return u + u&^0x7f | 0x80, 2 // the higher bits move up by one
}

// uvarintSize returns the number of bytes that putUvarint writes.
func uvarintSize(u uint64) int {
	return (9*bits.Len64(u|1) + 64) / 64 // ceil(bits / 7), for 1 to 64 bits
}
