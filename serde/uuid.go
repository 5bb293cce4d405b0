package serde

import (
	"encoding/hex"
	"fmt"
)

const uuidSize = 36

// appendUUID appends the form of Kafka's UUID serializer: 8-4-4-4-12 hex digits.
func appendUUID(dst []byte, b [16]byte) []byte {
	dst = hex.AppendEncode(dst, b[:4])
	dst = hex.AppendEncode(append(dst, '-'), b[4:6])
	dst = hex.AppendEncode(append(dst, '-'), b[6:8])
	dst = hex.AppendEncode(append(dst, '-'), b[8:10])
	return hex.AppendEncode(append(dst, '-'), b[10:])
}

// uuidOf decodes 36 characters; the digits may be of either case.
func uuidOf(src []byte) (b [16]byte, err error) {
	if len(src) != uuidSize {
		return b, errSize("uuid", uuidSize, len(src))
	}
	var at int
	for _, part := range [5][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		if part[0] > 0 && src[part[0]-1] != '-' {
			return b, fmt.Errorf("uuid: want '-' at position %d, got %q", part[0]-1, src[part[0]-1])
		}
		n, err := hex.Decode(b[at:], src[part[0]:part[1]])
		if err != nil {
			return b, fmt.Errorf("uuid: %w", err)
		}
		at += n
	}
	return b, nil
}
