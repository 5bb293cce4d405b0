package stream

import (
	"encoding/binary"
	"fmt"
	"time"

	"thalweg/serde"
)

// WindowedKey is a key with its window, as records of a topic have it: see [WindowKey]. In a topic it is the key's
// bytes, followed by end and start as 8 bytes each, big-endian: what Kafka Streams writes for sessions.
// [TimeWindowKeys] is what it writes for windows of a fixed size. Records are partitioned by the key alone.
type WindowedKey[K any] struct {
	Key  K
	Span Span
}

// WindowKey makes a key and its window one: for [WindowTable.ToStream].
func WindowKey[K any](k K, w Span) WindowedKey[K] { return WindowedKey[K]{k, w} }

// TopicSerde is the serde that topics give keys of the type: see [serde.ForTopic].
func (WindowedKey[K]) TopicSerde() serde.Serde[WindowedKey[K]] { return SessionKeys(serde.For[K]()) }

// SessionKeys encodes windowed keys with start and end.
func SessionKeys[K any](keys serde.Serde[K]) serde.Serde[WindowedKey[K]] {
	return windowedKeys[K]{keys, -1}
}

// TimeWindowKeys encodes windowed keys with the start alone, as Kafka Streams does for windows of one size, which is
// needed to read them. Windows of different lengths, as those of a calendar, need [SessionKeys].
func TimeWindowKeys[K any](keys serde.Serde[K], size time.Duration) serde.Serde[WindowedKey[K]] {
	return windowedKeys[K]{keys, size.Milliseconds()}
}

// windowedKeys encodes
//
//	key end(8) start(8)    size < 0
//	key start(8)           otherwise
type windowedKeys[K any] struct {
	keys serde.Serde[K]
	size int64
}

// AppendHash appends what the partition is chosen by.
func (s windowedKeys[K]) AppendHash(dst []byte, k WindowedKey[K]) ([]byte, error) {
	return s.keys.Append(dst, k.Key)
}

// HashKeys is the serde of what the partition is chosen by.
func (s windowedKeys[K]) HashKeys() any { return s.keys }

// Append appends the key and its window.
func (s windowedKeys[K]) Append(dst []byte, k WindowedKey[K]) ([]byte, error) {
	out, err := s.keys.Append(dst, k.Key)
	if err != nil {
		return dst, err
	}
	if s.size < 0 {
		out = binary.BigEndian.AppendUint64(out, uint64(k.Span.End))
	}
	return binary.BigEndian.AppendUint64(out, uint64(k.Span.Start)), nil
}

// Decode reads what Append wrote.
func (s windowedKeys[K]) Decode(src []byte) (k WindowedKey[K], err error) {
	tail := 16
	if s.size >= 0 {
		tail = 8
	}
	n := len(src) - tail
	if n < 0 {
		return k, fmt.Errorf("windowed key: %d bytes: the window alone has %d", len(src), tail)
	}
	k.Span.Start = int64(binary.BigEndian.Uint64(src[len(src)-8:]))
	if k.Span.End = k.Span.Start + s.size; s.size < 0 {
		k.Span.End = int64(binary.BigEndian.Uint64(src[n:]))
	}
	k.Key, err = s.keys.Decode(src[:n:n])
	return k, err
}

// Check tells why keys of the type can't be encoded, or nil.
func (s windowedKeys[K]) Check() error { return serde.Check(s.keys) }

// CheckKey tells why keys of the type are no good as keys, or nil.
func (s windowedKeys[K]) CheckKey() error { return serde.CheckKey(s.keys) }
