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

const instantSize = 12

// appendInstant appends a time. The location and the monotonic reading are not kept.
func appendInstant(dst []byte, t time.Time) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
}

func instantOf(seconds uint64, nanos uint32) (time.Time, error) {
	if nanos >= 1e9 {
		return time.Time{}, fmt.Errorf("time: want nanoseconds below 1000000000, got %d", nanos)
	}
	return time.Unix(int64(seconds), int64(nanos)).UTC(), nil
}

func boolOf(src []byte) (bool, error) {
	if len(src) != 1 {
		return false, errSize("bool", 1, len(src))
	}
	if src[0] > 1 {
		return false, fmt.Errorf("bool: want 0 or 1, got %d", src[0])
	}
	return src[0] == 1, nil
}

// intOf is the int of 8 bytes, which not every machine has.
func intOf(bits uint64) (int, error) {
	if n := int64(bits); int64(int(n)) != n {
		return 0, errRange("int", n)
	}
	return int(bits), nil
}

func uintOf(bits uint64) (uint, error) {
	if uint64(uint(bits)) != bits {
		return 0, errRange("uint", bits)
	}
	return uint(bits), nil
}

// notNil makes the result of appending nothing to a nil dst an empty slice: a nil one would be taken for a null.
func notNil(dst []byte) []byte {
	if dst == nil {
		return []byte{}
	}
	return dst
}

func viewString(src []byte) string { return unsafe.String(unsafe.SliceData(src), len(src)) }

func errSize(name string, want, got int) error {
	return fmt.Errorf("%s: want %d bytes, got %d", name, want, got)
}

func errRange(name string, n any) error {
	return fmt.Errorf("%s: %v does not fit", name, n)
}

func errNull(name string) error {
	return fmt.Errorf("%s: null has no bytes: the caller writes it as null (see NullOf)", name)
}
