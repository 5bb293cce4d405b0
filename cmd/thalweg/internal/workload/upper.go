package workload

import "encoding/binary"

// appendUpper appends src with its ASCII letters in upper case, eight bytes at a time.
func appendUpper(dst, src []byte) []byte {
	const (
		each = 0x0101010101010101
		high = 0x80 * each
	)
	for ; len(src) >= 8; src = src[8:] {
		x := binary.LittleEndian.Uint64(src)
		low := x &^ high
		// The high bit of each byte tells: at least 'a', not above 'z', and ASCII.
		letter := (low + (0x80-'a')*each) &^ (low + (0x7f-'z')*each) &^ x & high
		dst = binary.LittleEndian.AppendUint64(dst, x^letter>>2)
	}
	for _, c := range src {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
