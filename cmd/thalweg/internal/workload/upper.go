package workload

import "encoding/binary"

// upper writes src with its ASCII letters in upper case to dst, which is as long: eight bytes at a time, the last eight
// over some of those before.
func upper(dst, src []byte) {
	n := len(src)
	if n < 8 {
		for i, c := range src {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst[i] = c
		}
		return
	}
	for i := 0; i < n-8; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], upper8(binary.LittleEndian.Uint64(src[i:])))
	}
	binary.LittleEndian.PutUint64(dst[n-8:], upper8(binary.LittleEndian.Uint64(src[n-8:])))
}

func upper8(x uint64) uint64 {
	const (
		each = 0x0101010101010101
		high = 0x80 * each
	)
	low := x &^ high
	// The high bit of each byte tells: at least 'a', not above 'z', and ASCII.
	letter := (low + (0x80-'a')*each) &^ (low + (0x7f-'z')*each) &^ x & high
	return x ^ letter>>2
}
