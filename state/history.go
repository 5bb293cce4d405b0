package state

import (
	"encoding/binary"
	"errors"
	"slices"
)

// history is all versions of one key, newest first.
//
//	[timestamp 8][uvarint: 0 = tombstone, else 1 + length][value …] …
type history struct{ versions []version }

type version struct {
	timestamp int64
	value     []byte // nil is a tombstone
}

var errHistory = errors.New("history: truncated")

// historySerde is the serde of a history.
type historySerde struct{}

func (historySerde) Append(dst []byte, h history) ([]byte, error) {
	for _, v := range h.versions {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.timestamp))
		if v.value == nil {
			dst = append(dst, 0)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(v.value))+1)
		dst = append(dst, v.value...)
	}
	return dst, nil
}

func (historySerde) Decode(src []byte) (h history, err error) {
	for len(src) > 0 {
		if len(src) < 9 {
			return h, errHistory
		}
		v := version{timestamp: int64(binary.BigEndian.Uint64(src))}
		size, n := binary.Uvarint(src[8:])
		if n <= 0 || size > uint64(len(src)-8-n)+1 {
			return h, errHistory
		}
		src = src[8+n:]
		if size > 0 {
			v.value = src[: size-1 : size-1]
			src = src[size-1:]
		}
		h.versions = append(h.versions, v)
	}
	return h, nil
}

// position returns where a version of that time stands or would stand, and whether it is there.
func (h *history) position(timestamp int64) (int, bool) {
	return slices.BinarySearchFunc(h.versions, timestamp, func(v version, t int64) int { return sign(t - v.timestamp) })
}

// put adds a version or replaces the one of the same time, and tells whether it is the newest.
func (h *history) put(timestamp int64, value []byte) (latest bool) {
	at, found := h.position(timestamp)
	if found {
		h.versions[at].value = value
	} else {
		h.versions = slices.Insert(h.versions, at, version{timestamp, value})
	}
	return at == 0
}

// trim drops the versions that no reader may ask for: those replaced at or before the horizon, and a lone tombstone
// that old. It tells whether anything is left.
func (h *history) trim(horizon int64) bool {
	for i := 1; i < len(h.versions); i++ {
		if h.versions[i-1].timestamp <= horizon {
			h.versions = slices.Delete(h.versions, i, len(h.versions))
			break
		}
	}
	if n := len(h.versions); n > 0 && h.versions[n-1].value == nil && h.versions[n-1].timestamp <= horizon {
		h.versions = h.versions[:n-1] // what was before it is absent too
	}
	return len(h.versions) > 0
}
