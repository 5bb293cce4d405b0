package serde

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
	"unsafe"
)

// sliceHeader is how a slice lies in memory.
type sliceHeader struct {
	data unsafe.Pointer
	len  int
	cap  int
}

// append appends the value at v, which lies depth levels deep.
func (p *plan) append(dst []byte, v unsafe.Pointer, arrays bool, depth int) ([]byte, error) {
	switch p.kind {
	case planBool:
		if *(*bool)(v) {
			return append(dst, 0xc3), nil
		}
		return append(dst, 0xc2), nil
	case planInt:
		return appendMsgpackInt(dst, p.int(v)), nil
	case planUint:
		return appendMsgpackUint(dst, p.uint(v)), nil
	case planFloat:
		if p.bits == 32 {
			return binary.BigEndian.AppendUint32(append(dst, 0xca), *(*uint32)(v)), nil
		}
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), *(*uint64)(v)), nil
	case planString:
		return appendMsgpackString(dst, *(*string)(v)), nil
	case planBytes:
		return appendMsgpackBytes(dst, *(*[]byte)(v)), nil
	case planTime:
		return appendMsgpackTime(dst, *(*time.Time)(v)), nil
	}
	if depth == msgpackDepthMax {
		return dst, fmt.Errorf("msgpack: values nest deeper than %d levels: does one contain itself?", msgpackDepthMax)
	}
	switch p.kind {
	case planPointer:
		if elem := *(*unsafe.Pointer)(v); elem != nil {
			return p.elem.append(dst, elem, arrays, depth+1)
		}
		return append(dst, 0xc0), nil
	case planSlice:
		return p.appendSlice(dst, (*sliceHeader)(v), arrays, depth)
	default:
		return p.appendStruct(dst, v, arrays, depth)
	}
}

func (p *plan) appendSlice(dst []byte, s *sliceHeader, arrays bool, depth int) (_ []byte, err error) {
	if s.data == nil {
		return append(dst, 0xc0), nil
	}
	dst = appendMsgpackLength(dst, s.len, 0x90, 0xdc)
	for i := range s.len {
		if dst, err = p.elem.append(dst, unsafe.Add(s.data, uintptr(i)*p.stride), arrays, depth+1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (p *plan) appendStruct(dst []byte, v unsafe.Pointer, arrays bool, depth int) (_ []byte, err error) {
	if arrays {
		dst = appendMsgpackLength(dst, len(p.fields), 0x90, 0xdc)
	} else {
		dst = appendMsgpackLength(dst, p.present(v), 0x80, 0xde)
	}
	for i := range p.fields {
		f := &p.fields[i]
		at := unsafe.Add(v, f.offset)
		if !arrays {
			if f.omitEmpty && f.plan.empty(at) {
				continue
			}
			dst = append(dst, f.key...)
		}
		if dst, err = f.plan.append(dst, at, arrays, depth+1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// present counts the fields that are not left out.
func (p *plan) present(v unsafe.Pointer) int {
	n := len(p.fields)
	for i := range p.fields {
		if f := &p.fields[i]; f.omitEmpty && f.plan.empty(unsafe.Add(v, f.offset)) {
			n--
		}
	}
	return n
}

func (p *plan) empty(v unsafe.Pointer) bool {
	switch p.kind {
	case planBool:
		return !*(*bool)(v)
	case planInt:
		return p.int(v) == 0
	case planUint:
		return p.uint(v) == 0
	case planFloat:
		if p.bits == 32 {
			return *(*float32)(v) == 0
		}
		return *(*float64)(v) == 0
	case planString:
		return *(*string)(v) == ""
	case planTime:
		return (*time.Time)(v).IsZero()
	case planBytes, planSlice:
		return (*sliceHeader)(v).len == 0
	case planPointer:
		return *(*unsafe.Pointer)(v) == nil
	default:
		return false
	}
}

func (p *plan) int(v unsafe.Pointer) int64 {
	switch p.bits {
	case 8:
		return int64(*(*int8)(v))
	case 16:
		return int64(*(*int16)(v))
	case 32:
		return int64(*(*int32)(v))
	default:
		return *(*int64)(v)
	}
}

func (p *plan) uint(v unsafe.Pointer) uint64 {
	switch p.bits {
	case 8:
		return uint64(*(*uint8)(v))
	case 16:
		return uint64(*(*uint16)(v))
	case 32:
		return uint64(*(*uint32)(v))
	default:
		return *(*uint64)(v)
	}
}

func appendMsgpackInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0:
		return appendMsgpackUint(dst, uint64(n))
	case n >= -32:
		return append(dst, byte(n))
	case n >= math.MinInt8:
		return append(dst, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n))
	}
}

func appendMsgpackUint(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<7:
		return append(dst, byte(n))
	case n < 1<<8:
		return append(dst, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
	}
}

func appendMsgpackString(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n < 1<<8:
		dst = append(dst, 0xd9, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}

func appendMsgpackBytes(dst, b []byte) []byte {
	switch n := len(b); {
	case b == nil:
		return append(dst, 0xc0)
	case n < 1<<8:
		dst = append(dst, 0xc4, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xc5), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(n))
	}
	return append(dst, b...)
}

// appendMsgpackLength appends the head of an array or a map: small is its code for up to 15, large that for 16 bits.
func appendMsgpackLength(dst []byte, n int, small, large byte) []byte {
	switch {
	case n < 16:
		return append(dst, small|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, large), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(dst, large+1), uint32(n))
	}
}

// appendMsgpackTime appends the timestamp extension, type -1, in the shortest of its three forms.
func appendMsgpackTime(dst []byte, t time.Time) []byte {
	seconds, nanos := uint64(t.Unix()), uint64(t.Nanosecond())
	switch {
	case seconds>>34 != 0:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc7, 12, 0xff), uint32(nanos))
		return binary.BigEndian.AppendUint64(dst, seconds)
	case nanos == 0 && seconds>>32 == 0:
		return binary.BigEndian.AppendUint32(append(dst, 0xd6, 0xff), uint32(seconds))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xd7, 0xff), nanos<<34|seconds)
	}
}
