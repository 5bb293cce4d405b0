package workload

import "encoding/binary"

// upper writes src with its ASCII letters in upper case to dst, which is as long: in words of eight bytes, four at a
// time while there are as many, the last word over some of those before.
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
	i := 0
	for ; i <= n-32; i += 32 {
		d, s := (*[32]byte)(dst[i:]), (*[32]byte)(src[i:])
		binary.LittleEndian.PutUint64(d[:8], upper8(binary.LittleEndian.Uint64(s[:8])))
		binary.LittleEndian.PutUint64(d[8:16], upper8(binary.LittleEndian.Uint64(s[8:16])))
		binary.LittleEndian.PutUint64(d[16:24], upper8(binary.LittleEndian.Uint64(s[16:24])))
		binary.LittleEndian.PutUint64(d[24:], upper8(binary.LittleEndian.Uint64(s[24:])))
	}
	for ; i < n-8; i += 8 {
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
