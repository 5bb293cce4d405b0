package batch

import "fmt"

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
	n, i := varint(src, i)
	if i < 0 || n > int64(len(src)-i) || n < -1 {
		return nil, -1
	}
	if n < 0 {
		return nil, i
	}
	end := i + int(n)
	return src[i:end:end], end
}

// varint reads a zigzag varint at src[i:] and returns the position after it, -1 when there is none. A position of -1 as
// input gives -1, so that several reads can be checked once.
func varint(src []byte, i int) (int64, int) {
	if uint(i) < uint(len(src)) && src[i] < 0x80 {
		u := src[i]
		return int64(u>>1) ^ -int64(u&1), i + 1
	}
	return varintLong(src, i)
}

func varintLong(src []byte, i int) (int64, int) {
	if i < 0 {
		return 0, -1
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
			return int64(u>>1) ^ -int64(u&1), i
		}
	}
	return 0, -1
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// putUvarint writes u at dst[i:] and returns the position after it. The caller has made room.
func putUvarint(dst []byte, i int, u uint64) int {
	for u >= 0x80 {
		dst[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	dst[i] = byte(u)
	return i + 1
}

// uvarintSize returns the number of bytes that putUvarint writes.
func uvarintSize(u uint64) int {
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}
