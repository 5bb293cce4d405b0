package serde

import (
	"encoding/binary"
	"reflect"
	"time"
	"unsafe"
)

// form is how a type is written. Its methods are called directly, so that what they point at may lie on the stack.
type form struct {
	kind builtin
	of   reflect.Type
	how  *how // nil for a built-in
}

// The kinds of a form that is no built-in.
const (
	byPlan     = builtin(reflect.UnsafePointer) + 1 + iota // MessagePack
	byMethods                                              // a pointer's own methods
	byProtobuf                                             // a pointer to a message
	refused
)

// how is what a form that is no built-in knows.
type how struct {
	plan    *plan
	arrays  bool // of structs
	nilable bool
	methods methods
	null    any // of a pointer type: its nil
	why     error
}

func (f form) append(dst []byte, v unsafe.Pointer) ([]byte, error) {
	switch reflect.Kind(f.kind) {
	case reflect.String:
		return append(notNil(dst), *(*string)(v)...), nil
	case reflect.Int64, reflect.Uint64, reflect.Float64:
		return binary.BigEndian.AppendUint64(dst, *(*uint64)(v)), nil
	case reflect.Int32, reflect.Uint32, reflect.Float32:
		return binary.BigEndian.AppendUint32(dst, *(*uint32)(v)), nil
	case reflect.Int16, reflect.Uint16:
		return binary.BigEndian.AppendUint16(dst, *(*uint16)(v)), nil
	case reflect.Int8, reflect.Uint8:
		return append(dst, *(*uint8)(v)), nil
	case reflect.Int:
		return binary.BigEndian.AppendUint64(dst, uint64(*(*int)(v))), nil
	case reflect.Uint:
		return binary.BigEndian.AppendUint64(dst, uint64(*(*uint)(v))), nil
	case reflect.Bool:
		if *(*bool)(v) {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	}
	switch f.kind {
	case builtinBytes:
		return Bytes{}.Append(dst, *(*[]byte)(v))
	case builtinArray:
		return append(dst, unsafe.Slice((*byte)(v), f.of.Size())...), nil
	case builtinTime:
		return appendInstant(dst, *(*time.Time)(v)), nil
	case builtinUUID:
		return appendUUID(dst, *(*[16]byte)(v)), nil
	case byPlan:
		return f.appendPlanned(dst, v)
	case byMethods:
		return f.appendMethods(dst, *(*unsafe.Pointer)(v))
	case byProtobuf:
		return f.appendProtobuf(dst, *(*unsafe.Pointer)(v))
	default:
		return dst, f.how.why
	}
}

// decode decodes the whole of src into the zero value at v, of which an error may leave a part.
func (f form) decode(src []byte, v unsafe.Pointer) (err error) {
	switch reflect.Kind(f.kind) {
	case reflect.String:
		*(*string)(v) = viewString(src)
		return nil
	case reflect.Int64, reflect.Uint64, reflect.Float64:
		if len(src) == 8 {
			*(*uint64)(v) = binary.BigEndian.Uint64(src)
			return nil
		}
	case reflect.Int32, reflect.Uint32, reflect.Float32:
		if len(src) == 4 {
			*(*uint32)(v) = binary.BigEndian.Uint32(src)
			return nil
		}
	case reflect.Int16, reflect.Uint16:
		if len(src) == 2 {
			*(*uint16)(v) = binary.BigEndian.Uint16(src)
			return nil
		}
	case reflect.Int8, reflect.Uint8:
		if len(src) == 1 {
			*(*uint8)(v) = src[0]
			return nil
		}
	case reflect.Int:
		if len(src) == 8 {
			*(*int)(v), err = intOf(binary.BigEndian.Uint64(src))
			return err
		}
	case reflect.Uint:
		if len(src) == 8 {
			*(*uint)(v), err = uintOf(binary.BigEndian.Uint64(src))
			return err
		}
	default:
		return f.decodeOther(src, v)
	}
	return errSize(reflect.Kind(f.kind).String(), f.size(), len(src))
}

func (f form) decodeOther(src []byte, v unsafe.Pointer) (err error) {
	switch f.kind {
	case builtin(reflect.Bool):
		*(*bool)(v), err = boolOf(src)
	case builtinBytes:
		*(*[]byte)(v) = src[:len(src):len(src)]
	case builtinArray:
		if len(src) != f.size() {
			return errSize(f.of.String(), f.size(), len(src))
		}
		copy(unsafe.Slice((*byte)(v), len(src)), src)
	case builtinTime:
		if len(src) != instantSize {
			return errSize("time", instantSize, len(src))
		}
		*(*time.Time)(v), err = instantOf(binary.BigEndian.Uint64(src), binary.BigEndian.Uint32(src[8:]))
	case builtinUUID:
		*(*[16]byte)(v), err = uuidOf(src)
	case byPlan:
		return f.decodePlanned(src, v)
	case byMethods:
		return f.decodeMethods(src, (*unsafe.Pointer)(v))
	case byProtobuf:
		return f.decodeProtobuf(src, (*unsafe.Pointer)(v))
	default:
		return f.how.why
	}
	return err
}

// size is the number of bytes that every value takes, or 0 where it varies. A bool's is not told: see List.
func (f form) size() int {
	switch f.kind {
	case builtin(reflect.Int64), builtin(reflect.Uint64), builtin(reflect.Float64),
		builtin(reflect.Int), builtin(reflect.Uint):
		return 8
	case builtin(reflect.Int32), builtin(reflect.Uint32), builtin(reflect.Float32):
		return 4
	case builtin(reflect.Int16), builtin(reflect.Uint16):
		return 2
	case builtin(reflect.Int8), builtin(reflect.Uint8):
		return 1
	case builtinArray:
		return int(f.of.Size())
	case builtinTime:
		return instantSize
	case builtinUUID:
		return uuidSize
	default:
		return 0
	}
}

func (f form) check() error {
	if f.how == nil {
		return nil
	}
	return f.how.why
}
