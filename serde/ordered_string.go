package serde

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// A terminated string is its bytes, each 00 escaped to 00 FF, then the terminator 00 01. The terminator sorts below
// every byte that may stand in its place (an escape, or a byte above 00), so a string sorts before what it begins; and
// it can't occur inside, so the string ends at the first one whatever follows.
const (
	escape     = 0x00
	escaped00  = 0xff
	terminator = 0x01
)

func appendTerminated(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, escape)
		if i < 0 {
			return append(append(dst, s...), escape, terminator)
		}
		dst = append(append(dst, s[:i]...), escape, escaped00)
		s = s[i+1:]
	}
}

// cutTerminated returns the string at the head of src, as a view where nothing was escaped, and what follows it.
func cutTerminated(src []byte) (s, rest []byte, err error) {
	from := 0
	for at := src; ; {
		i := bytes.IndexByte(at, escape)
		if i < 0 || i+1 == len(at) {
			return nil, nil, errors.New("want the terminator 00 01, got the end of the bytes")
		}
		switch code := at[i+1]; {
		case code == terminator && s == nil:
			return src[:i:i], at[i+2:], nil
		case code == terminator:
			return append(s, at[:i]...), at[i+2:], nil
		case code != escaped00:
			return nil, nil, fmt.Errorf("want ff or 01 after 00, got %02x at byte %d", code, from+i+1)
		}
		s = append(append(s, at[:i]...), 0)
		at, from = at[i+2:], from+i+2
	}
}
