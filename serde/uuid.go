package serde

import (
	"encoding/hex"
	"fmt"
)

// uuidText is the serde of a type over [16]byte, in the form of Kafka's UUID serializer: 8-4-4-4-12 hex digits, of
// either case when decoding.
type uuidText[T any] struct{}

const uuidSize = 36

func (uuidText[T]) Append(dst []byte, v T) ([]byte, error) {
	b := cast[[16]byte](v)
	dst = hex.AppendEncode(dst, b[:4])
	dst = hex.AppendEncode(append(dst, '-'), b[4:6])
	dst = hex.AppendEncode(append(dst, '-'), b[6:8])
	dst = hex.AppendEncode(append(dst, '-'), b[8:10])
	return hex.AppendEncode(append(dst, '-'), b[10:]), nil
}

func (uuidText[T]) Decode(src []byte) (v T, err error) {
	if len(src) != uuidSize {
		return v, errSize("uuid", uuidSize, len(src))
	}
	var b [16]byte
	var at int
	for _, part := range [5][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		if part[0] > 0 && src[part[0]-1] != '-' {
			return v, fmt.Errorf("uuid: want '-' at position %d, got %q", part[0]-1, src[part[0]-1])
		}
		n, err := hex.Decode(b[at:], src[part[0]:part[1]])
		if err != nil {
			return v, fmt.Errorf("uuid: %w", err)
		}
		at += n
	}
	return cast[T](b), nil
}

func (uuidText[T]) size() int { return uuidSize }
