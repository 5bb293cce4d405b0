package serde

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"
)

// String is the serde of string: the bytes as they are. Decode returns a view of src. For[string] returns it, as this
// type, so that a node may recognise it and spare the call.
type String struct{}

// Append appends the bytes of v.
func (String) Append(dst []byte, v string) ([]byte, error) { return append(notNil(dst), v...), nil }

// Decode returns a view of src.
func (String) Decode(src []byte) (string, error) { return viewString(src), nil }

// Bytes is the serde of []byte: the bytes as they are. Decode returns a view of src with its capacity clipped.
// For[[]byte] returns it, as this type.
type Bytes struct{}

// Append appends v, which must not be nil.
func (Bytes) Append(dst []byte, v []byte) ([]byte, error) {
	if v == nil {
		return dst, errNull("bytes")
	}
	return append(notNil(dst), v...), nil
}

// Decode returns a view of src.
func (Bytes) Decode(src []byte) ([]byte, error) { return src[:len(src):len(src)], nil }

// Int64 is the serde of int64: 8 bytes, big-endian. For[int64] returns it, as this type.
type Int64 struct{}

// Append appends the 8 bytes of v.
func (Int64) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

// Decode decodes 8 bytes.
func (Int64) Decode(src []byte) (int64, error) {
	if len(src) != 8 {
		return 0, errSize("int64", 8, len(src))
	}
	return int64(binary.BigEndian.Uint64(src)), nil
}

func (Int64) size() int { return 8 }

// text is String for a type declared over string.
type text[T any] struct{}

func (text[T]) Append(dst []byte, v T) ([]byte, error) { return String{}.Append(dst, cast[string](v)) }
func (text[T]) Decode(src []byte) (T, error)           { return cast[T](viewString(src)), nil }

// blob is Bytes for a type declared over []byte.
type blob[T any] struct{}

func (blob[T]) Append(dst []byte, v T) ([]byte, error) { return Bytes{}.Append(dst, cast[[]byte](v)) }
func (blob[T]) Decode(src []byte) (T, error)           { return cast[T](src[:len(src):len(src)]), nil }

// boolean is the serde of a type over bool.
type boolean[T any] struct{}

func (boolean[T]) Append(dst []byte, v T) ([]byte, error) {
	if cast[bool](v) {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

func (boolean[T]) Decode(src []byte) (v T, err error) {
	if len(src) != 1 {
		return v, errSize("bool", 1, len(src))
	}
	if src[0] > 1 {
		return v, fmt.Errorf("bool: want 0 or 1, got %d", src[0])
	}
	return cast[T](src[0] == 1), nil
}

// fixed is the big-endian image of a number of 1, 2, 4 or 8 bytes.
type fixed[T any] struct{ name string }

func (fixed[T]) Append(dst []byte, v T) ([]byte, error) {
	switch unsafe.Sizeof(v) {
	case 1:
		return append(dst, cast[uint8](v)), nil
	case 2:
		return binary.BigEndian.AppendUint16(dst, cast[uint16](v)), nil
	case 4:
		return binary.BigEndian.AppendUint32(dst, cast[uint32](v)), nil
	default:
		return binary.BigEndian.AppendUint64(dst, cast[uint64](v)), nil
	}
}

func (f fixed[T]) Decode(src []byte) (v T, err error) {
	if len(src) != int(unsafe.Sizeof(v)) {
		return v, errSize(f.name, int(unsafe.Sizeof(v)), len(src))
	}
	switch unsafe.Sizeof(v) {
	case 1:
		return cast[T](src[0]), nil
	case 2:
		return cast[T](binary.BigEndian.Uint16(src)), nil
	case 4:
		return cast[T](binary.BigEndian.Uint32(src)), nil
	default:
		return cast[T](binary.BigEndian.Uint64(src)), nil
	}
}

func (f fixed[T]) size() int {
	var v T
	return int(unsafe.Sizeof(v))
}

// integer is the serde of a type over int: 8 bytes on every machine.
type integer[T any] struct{}

func (integer[T]) Append(dst []byte, v T) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(cast[int](v))), nil
}

func (integer[T]) Decode(src []byte) (v T, err error) {
	if len(src) != 8 {
		return v, errSize("int", 8, len(src))
	}
	n := int64(binary.BigEndian.Uint64(src))
	if int64(int(n)) != n {
		return v, errRange("int", n)
	}
	return cast[T](int(n)), nil
}

func (integer[T]) size() int { return 8 }

// unsigned is the serde of a type over uint: 8 bytes on every machine.
type unsigned[T any] struct{}

func (unsigned[T]) Append(dst []byte, v T) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(cast[uint](v))), nil
}

func (unsigned[T]) Decode(src []byte) (v T, err error) {
	if len(src) != 8 {
		return v, errSize("uint", 8, len(src))
	}
	n := binary.BigEndian.Uint64(src)
	if uint64(uint(n)) != n {
		return v, errRange("uint", n)
	}
	return cast[T](uint(n)), nil
}

func (unsigned[T]) size() int { return 8 }

// array is the bytes of a type over [N]byte.
type array[T any] struct{ name string }

func (array[T]) Append(dst []byte, v T) ([]byte, error) {
	return append(dst, unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...), nil
}

func (a array[T]) Decode(src []byte) (v T, err error) {
	if len(src) != int(unsafe.Sizeof(v)) {
		return v, errSize(a.name, int(unsafe.Sizeof(v)), len(src))
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), src)
	return v, nil
}

func (a array[T]) size() int {
	var v T
	return int(unsafe.Sizeof(v))
}

// instant is the serde of a type over time.Time. The location and the monotonic reading are not kept.
type instant[T any] struct{}

const instantSize = 12

func (instant[T]) Append(dst []byte, v T) ([]byte, error) {
	t := cast[time.Time](v)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond())), nil
}

func (instant[T]) Decode(src []byte) (v T, err error) {
	if len(src) != instantSize {
		return v, errSize("time", instantSize, len(src))
	}
	t, err := instantOf(binary.BigEndian.Uint64(src), binary.BigEndian.Uint32(src[8:]))
	return cast[T](t), err
}

func (instant[T]) size() int { return instantSize }

func instantOf(seconds uint64, nanos uint32) (time.Time, error) {
	if nanos >= 1e9 {
		return time.Time{}, fmt.Errorf("time: want nanoseconds below 1000000000, got %d", nanos)
	}
	return time.Unix(int64(seconds), int64(nanos)).UTC(), nil
}

// notNil makes the result of appending nothing to a nil dst an empty slice: a nil one would be taken for a null.
func notNil(dst []byte) []byte {
	if dst == nil {
		return []byte{}
	}
	return dst
}

// cast reinterprets v, whose representation is that of a To: For checked the kinds.
func cast[To, From any](v From) To { return *(*To)(unsafe.Pointer(&v)) }

func viewString(src []byte) string { return unsafe.String(unsafe.SliceData(src), len(src)) }

func errSize(name string, want, got int) error {
	return fmt.Errorf("%s: want %d bytes, got %d", name, want, got)
}

func errRange[N any](name string, n N) error {
	return fmt.Errorf("%s: %v does not fit", name, n)
}

func errNull(name string) error {
	return fmt.Errorf("%s: null has no bytes: the caller writes it as null (see NullOf)", name)
}
