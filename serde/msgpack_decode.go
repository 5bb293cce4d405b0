package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// decode decodes the first value of src, which lies depth levels deep, into the zero value at v, and returns what
// follows it. Strings are views of src, byte slices are copies: they may be written to.
func (p *plan) decode(src []byte, v unsafe.Pointer, depth int) ([]byte, error) {
	if len(src) == 0 {
		return nil, errMsgpackShort
	}
	if src[0] == 0xc0 { // null inside a value is its zero
		p.zero(v)
		return src[1:], nil
	}
	switch p.kind {
	case planBool:
		if src[0] != 0xc2 && src[0] != 0xc3 {
			return nil, errMsgpackKind("a bool", src)
		}
		*(*bool)(v) = src[0] == 0xc3
		return src[1:], nil
	case planInt, planUint:
		return p.decodeInteger(src, v)
	case planFloat:
		return p.decodeFloat(src, v)
	case planString:
		b, rest, err := cutMsgpackString(src)
		*(*string)(v) = viewString(b)
		return rest, err
	case planBytes:
		b, rest, err := cutMsgpackString(src)
		*(*[]byte)(v) = append(make([]byte, 0, len(b)), b...)
		return rest, err
	case planTime:
		return decodeMsgpackTime(src, (*time.Time)(v))
	}
	if depth == msgpackDepthMax {
		return nil, fmt.Errorf("values nest deeper than %d levels", msgpackDepthMax)
	}
	switch p.kind {
	case planPointer:
		elem := reflect.New(p.of).UnsafePointer()
		*(*unsafe.Pointer)(v) = elem
		return p.elem.decode(src, elem, depth+1)
	case planSlice:
		return p.decodeSlice(src, (*sliceHeader)(v), depth)
	default:
		return p.decodeStruct(src, v, depth)
	}
}

// zero undoes what an earlier field of the same name left.
func (p *plan) zero(v unsafe.Pointer) {
	switch p.kind {
	case planBool:
		*(*bool)(v) = false
	case planInt, planUint, planFloat:
		p.setBits(v, 0)
	case planString:
		*(*string)(v) = ""
	case planBytes, planSlice:
		*(*sliceHeader)(v) = sliceHeader{}
	case planTime:
		*(*time.Time)(v) = time.Time{}
	case planPointer:
		*(*unsafe.Pointer)(v) = nil
	default:
		for i := range p.fields {
			p.fields[i].plan.zero(unsafe.Add(v, p.fields[i].offset))
		}
	}
}

func (p *plan) setBits(v unsafe.Pointer, bits uint64) {
	switch p.bits {
	case 8:
		*(*uint8)(v) = uint8(bits)
	case 16:
		*(*uint16)(v) = uint16(bits)
	case 32:
		*(*uint32)(v) = uint32(bits)
	default:
		*(*uint64)(v) = bits
	}
}

func (p *plan) decodeInteger(src []byte, v unsafe.Pointer) ([]byte, error) {
	bits, negative, rest, err := cutMsgpackInteger(src)
	if err != nil {
		return nil, err
	}
	shift := 64 - p.bits
	switch {
	case p.kind == planUint && (negative || bits<<shift>>shift != bits),
		p.kind == planInt && (negative != (int64(bits) < 0) || int64(bits)<<shift>>shift != int64(bits)):
		if negative {
			return nil, fmt.Errorf("%d does not fit %d bits", int64(bits), p.bits)
		}
		return nil, fmt.Errorf("%d does not fit %d bits", bits, p.bits)
	}
	p.setBits(v, bits)
	return rest, nil
}

func (p *plan) decodeFloat(src []byte, v unsafe.Pointer) ([]byte, error) {
	var value float64
	var rest []byte
	switch {
	case src[0] == 0xca && len(src) >= 5:
		value, rest = float64(math.Float32frombits(binary.BigEndian.Uint32(src[1:]))), src[5:]
	case src[0] == 0xcb && len(src) >= 9:
		value, rest = math.Float64frombits(binary.BigEndian.Uint64(src[1:])), src[9:]
	case src[0] == 0xca || src[0] == 0xcb:
		return nil, errMsgpackShort
	default:
		bits, negative, after, err := cutMsgpackInteger(src)
		if err != nil {
			return nil, err
		}
		value, rest = float64(bits), after
		if negative {
			value = float64(int64(bits))
		}
	}
	if p.bits == 32 {
		*(*float32)(v) = float32(value)
	} else {
		*(*float64)(v) = value
	}
	return rest, nil
}

func (p *plan) decodeSlice(src []byte, s *sliceHeader, depth int) ([]byte, error) {
	size, n, err := msgpackHead(src)
	switch {
	case err != nil:
		return nil, err
	case src[0]&0xf0 != 0x90 && src[0] != 0xdc && src[0] != 0xdd:
		return nil, errMsgpackKind("an array", src)
	case uint64(len(src)) < size || uint64(len(src))-size < n:
		return nil, errMsgpackShort
	}
	src = src[size:]
	*s = sliceHeader{reflect.MakeSlice(p.of, int(n), int(n)).UnsafePointer(), int(n), int(n)}
	for i := range int(n) {
		if src, err = p.elem.decode(src, unsafe.Add(s.data, uintptr(i)*p.stride), depth+1); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return src, nil
}

// decodeStruct takes both forms, whichever is written.
func (p *plan) decodeStruct(src []byte, v unsafe.Pointer, depth int) ([]byte, error) {
	size, n, err := msgpackHead(src)
	if err != nil {
		return nil, err
	}
	isMap := src[0]&0xf0 == 0x80 || src[0] == 0xde || src[0] == 0xdf
	switch {
	case !isMap && src[0]&0xf0 != 0x90 && src[0] != 0xdc && src[0] != 0xdd:
		return nil, errMsgpackKind("a map or an array of "+p.name, src)
	case uint64(len(src)) < size || uint64(len(src))-size < n:
		return nil, errMsgpackShort
	}
	src = src[size:]
	if !isMap {
		return p.decodePositions(src, v, int(n), depth)
	}
	next := 0 // the field that stands here when the writer has the same fields in the same order
	for range n / 2 {
		var f *planField
		if next < len(p.fields) && hasPrefix(src, p.fields[next].key) {
			f, src = &p.fields[next], src[len(p.fields[next].key):]
			next++
		} else {
			name, rest, err := cutMsgpackString(src)
			if err != nil {
				return nil, fmt.Errorf("name of a field: %w", err)
			}
			src = rest
			if i := p.find(name); i >= 0 {
				f, next = &p.fields[i], i+1
			}
		}
		if src, err = p.decodeField(f, src, v, depth); err != nil {
			return nil, err
		}
	}
	return src, nil
}

func (p *plan) decodePositions(src []byte, v unsafe.Pointer, n, depth int) (_ []byte, err error) {
	for i := range n {
		var f *planField
		if i < len(p.fields) {
			f = &p.fields[i]
		}
		if src, err = p.decodeField(f, src, v, depth); err != nil {
			return nil, err
		}
	}
	return src, nil
}

// decodeField decodes the field f of the struct at v; a nil f is one that this program doesn't know.
func (p *plan) decodeField(f *planField, src []byte, v unsafe.Pointer, depth int) ([]byte, error) {
	if f == nil {
		return skipMsgpack(src, depth+1)
	}
	rest, err := f.plan.decode(src, unsafe.Add(v, f.offset), depth+1)
	if err != nil {
		return nil, fmt.Errorf("field %s: %w", f.name, err)
	}
	return rest, nil
}

func (p *plan) find(name []byte) int {
	for i := range p.fields {
		if p.fields[i].name == string(name) {
			return i
		}
	}
	return -1
}

func hasPrefix(src []byte, key string) bool {
	return len(src) >= len(key) && string(src[:len(key)]) == key
}

// cutMsgpackInteger returns the two's complement of the integer at the head of src, and whether it is negative.
func cutMsgpackInteger(src []byte) (bits uint64, negative bool, rest []byte, err error) {
	if len(src) == 0 {
		return 0, false, nil, errMsgpackShort
	}
	c := src[0]
	switch {
	case c <= 0x7f:
		return uint64(c), false, src[1:], nil
	case c >= 0xe0:
		return uint64(int64(int8(c))), true, src[1:], nil
	case c < 0xcc || c > 0xd3:
		return 0, false, nil, errMsgpackKind("an integer", src)
	}
	size := 1 << ((c - 0xcc) & 3)
	if len(src) < 1+size {
		return 0, false, nil, errMsgpackShort
	}
	for _, b := range src[1 : 1+size] {
		bits = bits<<8 | uint64(b)
	}
	if c >= 0xd0 { // signed: extend the sign
		shift := 64 - 8*size
		bits = uint64(int64(bits<<shift) >> shift)
		negative = int64(bits) < 0
	}
	return bits, negative, src[1+size:], nil
}

// cutMsgpackString returns the bytes of the string or byte string at the head of src.
func cutMsgpackString(src []byte) (b, rest []byte, err error) {
	if len(src) == 0 {
		return nil, nil, errMsgpackShort
	}
	c := src[0]
	head := 1
	switch {
	case c&0xe0 == 0xa0:
	case c == 0xc4 || c == 0xd9:
		head = 2
	case c == 0xc5 || c == 0xda:
		head = 3
	case c == 0xc6 || c == 0xdb:
		head = 5
	default:
		return nil, nil, errMsgpackKind("a string", src)
	}
	size, _, err := msgpackHead(src)
	if err != nil {
		return nil, nil, err
	}
	if uint64(len(src)) < size {
		return nil, nil, errMsgpackShort
	}
	return src[head:size:size], src[size:], nil
}

func decodeMsgpackTime(src []byte, t *time.Time) ([]byte, error) {
	size, _, err := msgpackHead(src)
	if err != nil {
		return nil, err
	}
	if uint64(len(src)) < size {
		return nil, errMsgpackShort
	}
	var seconds, nanos uint64
	switch b := src[:size]; {
	case b[0] == 0xd6 && b[1] == 0xff:
		seconds = uint64(binary.BigEndian.Uint32(b[2:]))
	case b[0] == 0xd7 && b[1] == 0xff:
		both := binary.BigEndian.Uint64(b[2:])
		seconds, nanos = both&(1<<34-1), both>>34
	case b[0] == 0xc7 && size == 15 && b[2] == 0xff:
		nanos, seconds = uint64(binary.BigEndian.Uint32(b[3:])), binary.BigEndian.Uint64(b[7:])
	default:
		return nil, errMsgpackKind("a timestamp", src)
	}
	*t, err = instantOf(seconds, uint32(nanos))
	return src[size:], err
}

func errMsgpackKind(want string, src []byte) error {
	if len(src) == 0 {
		return errors.New("want " + want + ", got nothing")
	}
	return fmt.Errorf("want %s, got code %02x", want, src[0])
}
