package serde

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// String is Kafka's string: the UTF-8 bytes as they are. Decode returns a view of src.
type String struct{}

func (String) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

func (String) Decode(src []byte) (string, error) { return unsafe.String(unsafe.SliceData(src), len(src)), nil }

// Bytes is the bytes as they are. Decode returns a view of src with its capacity clipped.
type Bytes struct{}

func (Bytes) Append(dst []byte, v []byte) ([]byte, error) {
	if v == nil {
		return dst, errNull("bytes")
	}
	return append(dst, v...), nil
}

func (Bytes) Decode(src []byte) ([]byte, error) { return src[:len(src):len(src)], nil }

// Int64 is Kafka's long: 8 bytes, big-endian.
type Int64 struct{}

func (Int64) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (Int64) Decode(src []byte) (int64, error) {
	if len(src) != 8 {
		return 0, errSize("int64", 8, len(src))
	}
	return int64(binary.BigEndian.Uint64(src)), nil
}

func errSize(name string, want, got int) error {
	return fmt.Errorf("%s: want %d bytes, got %d", name, want, got)
}

func errNull(name string) error {
	return fmt.Errorf("%s: null has no bytes: the caller writes it as a null (see NullOf)", name)
}
