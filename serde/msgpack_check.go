package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// msgpackDepthMax bounds the nesting of a value: deeper input would exhaust the stack, which nothing can recover from.
const msgpackDepthMax = 1000

var errMsgpackShort = errors.New("the value is cut off")

// checkMsgpack tells whether src is exactly one well-formed MessagePack value of bounded depth. What is well-formed
// holds at least one byte per element, so a decoder behind it allocates no more than in proportion to src.
func checkMsgpack(src []byte) error {
	rest, err := skipMsgpack(src, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after the value", len(rest))
	}
	return err
}

// skipMsgpack returns what follows the first value of src, which lies depth levels deep.
func skipMsgpack(src []byte, depth int) ([]byte, error) {
	size, children, err := msgpackHead(src)
	if err != nil {
		return nil, err
	}
	if uint64(len(src)) < size || uint64(len(src))-size < children {
		return nil, errMsgpackShort
	}
	src = src[size:]
	if children > 0 && depth == msgpackDepthMax {
		return nil, fmt.Errorf("values nest deeper than %d levels", msgpackDepthMax)
	}
	for range children {
		if src, err = skipMsgpack(src, depth+1); err != nil {
			return nil, err
		}
	}
	return src, nil
}

// msgpackHead returns how many bytes the first value of src takes without its children, and how many children follow.
func msgpackHead(src []byte) (size, children uint64, err error) {
	if len(src) == 0 {
		return 0, 0, errMsgpackShort
	}
	switch c := src[0]; {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 1, 0, nil
	case c <= 0x8f: // fixmap
		return 1, 2 * uint64(c&0x0f), nil
	case c <= 0x9f: // fixarray
		return 1, uint64(c & 0x0f), nil
	case c <= 0xbf: // fixstr
		return 1 + uint64(c&0x1f), 0, nil
	case c == 0xc1:
		return 0, 0, errors.New("byte c1 is never used")
	default:
		return msgpackSized(c, src)
	}
}

// msgpackSized is msgpackHead for the bytes 0xc4 to 0xdf.
func msgpackSized(c byte, src []byte) (size, children uint64, err error) {
	const lengths = "\x01\x02\x04" // bytes that the length of bin8, bin16, bin32 takes, and so on
	switch {
	case c <= 0xc6:
		return msgpackLength(src, int(lengths[c-0xc4]), 0)
	case c <= 0xc9: // ext: one more byte of type
		return msgpackLength(src, int(lengths[c-0xc7]), 1)
	case c <= 0xcb: // float32, float64
		return 1 + 4<<(c-0xca), 0, nil
	case c <= 0xcf: // uint8 … uint64
		return 1 + 1<<(c-0xcc), 0, nil
	case c <= 0xd3: // int8 … int64
		return 1 + 1<<(c-0xd0), 0, nil
	case c <= 0xd8: // fixext 1, 2, 4, 8, 16
		return 2 + 1<<(c-0xd4), 0, nil
	case c <= 0xdb: // str8, str16, str32
		return msgpackLength(src, int(lengths[c-0xd9]), 0)
	}
	width := 2 << (c & 1) // array16, array32, map16, map32
	n, _, err := msgpackLength(src, width, 0)
	n -= uint64(1 + width)
	if c >= 0xde {
		n *= 2
	}
	return uint64(1 + width), n, err
}

// msgpackLength returns the size of a value with a length of width bytes after its first byte.
func msgpackLength(src []byte, width, extra int) (size, children uint64, err error) {
	if len(src) < 1+width {
		return 0, 0, errMsgpackShort
	}
	var n uint64
	switch width {
	case 1:
		n = uint64(src[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(src[1:]))
	default:
		n = uint64(binary.BigEndian.Uint32(src[1:]))
	}
	return uint64(1+width+extra) + n, 0, nil
}
