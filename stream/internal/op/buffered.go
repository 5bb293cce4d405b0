package op

import (
	"encoding/binary"
	"errors"

	"thalweg/serde"
	"thalweg/topology"
)

// Buffered is a row that a suppression holds back.
type Buffered[V any] struct {
	Time             int64 // what its delay counts from
	Timestamp        int64 // of the newest change
	New, Prior       V     // the newest row, and the one that went on before
	HasNew, HasPrior bool
	Headers          []topology.Header
}

// BufferedValues encodes rows that are held back:
//
//	version(1) flags(1) time(8) timestamp(8) [length(varint) new] [length(varint) prior]
//	headers: count(varint), each length(varint) key, length+1(varint, 0 is null) value
type BufferedValues[V any] struct{ Values serde.Serde[V] }

const (
	bufferedVersion byte = 1
	bufferedNew     byte = 1
	bufferedPrior   byte = 2
)

var errBuffered = errors.New("buffered row: cut short, or of another version")

// Append appends the row.
func (s BufferedValues[V]) Append(dst []byte, b Buffered[V]) ([]byte, error) {
	var flags byte
	if b.HasNew {
		flags |= bufferedNew
	}
	if b.HasPrior {
		flags |= bufferedPrior
	}
	out := append(dst, bufferedVersion, flags)
	out = binary.BigEndian.AppendUint64(out, uint64(b.Time))
	out = binary.BigEndian.AppendUint64(out, uint64(b.Timestamp))
	var err error
	if b.HasNew {
		if out, err = s.appendValue(out, b.New); err != nil {
			return dst, err
		}
	}
	if b.HasPrior {
		if out, err = s.appendValue(out, b.Prior); err != nil {
			return dst, err
		}
	}
	out = binary.AppendUvarint(out, uint64(len(b.Headers)))
	for _, h := range b.Headers {
		out = append(binary.AppendUvarint(out, uint64(len(h.Key))), h.Key...)
		if h.Value == nil {
			out = append(out, 0)
			continue
		}
		out = append(binary.AppendUvarint(out, uint64(len(h.Value))+1), h.Value...)
	}
	return out, nil
}

func (s BufferedValues[V]) appendValue(dst []byte, v V) ([]byte, error) {
	raw, err := s.Values.Append(nil, v)
	if err != nil {
		return dst, err
	}
	return append(binary.AppendUvarint(dst, uint64(len(raw))), raw...), nil
}

// Decode reads what Append wrote.
func (s BufferedValues[V]) Decode(src []byte) (b Buffered[V], err error) {
	if len(src) < 18 || src[0] != bufferedVersion {
		return b, errBuffered
	}
	b.HasNew, b.HasPrior = src[1]&bufferedNew != 0, src[1]&bufferedPrior != 0
	b.Time = int64(binary.BigEndian.Uint64(src[2:]))
	b.Timestamp = int64(binary.BigEndian.Uint64(src[10:]))
	rest, raw := src[18:], []byte(nil)
	if b.HasNew {
		if raw, rest, err = cut(rest); err == nil {
			b.New, err = s.Values.Decode(raw)
		}
	}
	if b.HasPrior && err == nil {
		if raw, rest, err = cut(rest); err == nil {
			b.Prior, err = s.Values.Decode(raw)
		}
	}
	if err != nil {
		return b, err
	}
	count, n := binary.Uvarint(rest)
	if n <= 0 || count > uint64(len(rest)) {
		return b, errBuffered
	}
	rest = rest[n:]
	for range count {
		var h topology.Header
		if raw, rest, err = cut(rest); err != nil {
			return b, err
		}
		h.Key = string(raw)
		switch size, n := binary.Uvarint(rest); {
		case n <= 0 || size > uint64(len(rest)-n)+1:
			return b, errBuffered
		case size == 0:
			rest = rest[n:]
		default:
			h.Value, rest = rest[n:n+int(size)-1], rest[n+int(size)-1:]
		}
		b.Headers = append(b.Headers, h)
	}
	return b, nil
}

// cut takes a length and as many bytes.
func cut(src []byte) (head, rest []byte, err error) {
	size, n := binary.Uvarint(src)
	if n <= 0 || size > uint64(len(src)-n) {
		return nil, nil, errBuffered
	}
	end := n + int(size)
	return src[n:end:end], src[end:], nil
}

// SpanKeys encodes keys of windowed tables: the key, then end and start.
type SpanKeys[K any] struct{ Keys serde.Serde[K] }

// Append appends key and window.
func (s SpanKeys[K]) Append(dst []byte, w Windowed[K]) ([]byte, error) {
	out, err := s.Keys.Append(dst, w.Key)
	if err != nil {
		return dst, err
	}
	out = binary.BigEndian.AppendUint64(out, uint64(w.Span.End))
	return binary.BigEndian.AppendUint64(out, uint64(w.Span.Start)), nil
}

// Decode reads what Append wrote.
func (s SpanKeys[K]) Decode(src []byte) (w Windowed[K], err error) {
	n := len(src) - 16
	if n < 0 {
		return w, errors.New("windowed key: cut short")
	}
	w.Span.End = int64(binary.BigEndian.Uint64(src[n:]))
	w.Span.Start = int64(binary.BigEndian.Uint64(src[n+8:]))
	w.Key, err = s.Keys.Decode(src[:n:n])
	return w, err
}
