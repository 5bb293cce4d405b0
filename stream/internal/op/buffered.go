package op

import (
	"encoding/binary"
	"errors"
	"math"

	"thalweg/serde"
	"thalweg/topology"
)

// Buffered is a row that a suppression holds back, or a record that waits for a table.
type Buffered[V any] struct {
	Time             int64 // what its delay counts from; 0 where the key has it
	Timestamp        int64 // of the newest change
	New, Prior       V     // the newest row, and the one that was emitted before
	HasNew, HasPrior bool
	Headers          []topology.Header
	Origin           topology.Metadata // of the record that made the newest change; Offset -1: of none
}

// BufferedValues encodes rows that are held back as Kafka Streams does:
//
//	timestamp(8) offset(8) topic partition(4) number of headers(4), for each: key value
//	prior · old · new · time(8)
//
// Topic, keys and values of headers, and rows have their length(4) before them, -1 where there is none. The old row is
// the one before the newest change. Here it is taken for the prior one, which has the form of length -2: the
// row's change is emitted with it.
type BufferedValues[V any] struct{ Values serde.Serde[V] }

const (
	noBytes   int32 = -1
	sameBytes int32 = -2
)

var errBuffered = errors.New("buffered row: cut short, or of another version")

// Append appends the row.
func (s BufferedValues[V]) Append(dst []byte, b Buffered[V]) ([]byte, error) {
	out := binary.BigEndian.AppendUint64(dst, uint64(b.Timestamp))
	out = binary.BigEndian.AppendUint64(out, uint64(b.Origin.Offset))
	out = append(binary.BigEndian.AppendUint32(out, uint32(len(b.Origin.Topic))), b.Origin.Topic...)
	out = binary.BigEndian.AppendUint32(out, uint32(b.Origin.Partition))
	out = binary.BigEndian.AppendUint32(out, uint32(len(b.Headers)))
	for _, h := range b.Headers {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(h.Key))), h.Key...)
		if h.Value == nil {
			out = appendInt32(out, noBytes)
			continue
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(h.Value))), h.Value...)
	}
	out, err := s.appendRow(out, b.Prior, b.HasPrior)
	if err != nil {
		return dst, err
	}
	if b.HasPrior {
		out = appendInt32(out, sameBytes)
	} else {
		out = appendInt32(out, noBytes)
	}
	if out, err = s.appendRow(out, b.New, b.HasNew); err != nil {
		return dst, err
	}
	return binary.BigEndian.AppendUint64(out, uint64(b.Time)), nil
}

func appendInt32(dst []byte, n int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(n)) }

func (s BufferedValues[V]) appendRow(dst []byte, v V, there bool) ([]byte, error) {
	if !there {
		return appendInt32(dst, noBytes), nil
	}
	out, err := s.Values.Append(append(dst, 0, 0, 0, 0), v)
	if err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint32(out[len(dst):], uint32(len(out)-len(dst)-4))
	return out, nil
}

// Check says why the serdes within can never work, or nil.
func (s BufferedValues[V]) Check() error { return serde.Check(s.Values) }

// Decode reads what Append wrote, or Kafka Streams did.
func (s BufferedValues[V]) Decode(src []byte) (b Buffered[V], err error) {
	if len(src) < 16 {
		return b, errBuffered
	}
	b.Timestamp = int64(binary.BigEndian.Uint64(src))
	b.Origin.Offset = int64(binary.BigEndian.Uint64(src[8:]))
	topic, rest, err := cutSized(src[16:])
	if err != nil || len(rest) < 8 {
		return b, errBuffered
	}
	b.Origin.Topic, b.Origin.Partition = string(topic), int32(binary.BigEndian.Uint32(rest))
	if b.Headers, rest, err = cutHeaders(rest[4:]); err != nil {
		return b, err
	}
	if b.Prior, b.HasPrior, rest, err = s.cutRow(rest); err != nil {
		return b, err
	}
	if len(rest) >= 4 && int32(binary.BigEndian.Uint32(rest)) == sameBytes {
		rest = rest[4:]
	} else if _, rest, err = cutSized(rest); err != nil {
		return b, err
	}
	if b.New, b.HasNew, rest, err = s.cutRow(rest); err != nil {
		return b, err
	}
	if len(rest) != 8 {
		return b, errBuffered
	}
	b.Time = int64(binary.BigEndian.Uint64(rest))
	return b, nil
}

func (s BufferedValues[V]) cutRow(src []byte) (v V, there bool, rest []byte, err error) {
	raw, rest, err := cutSized(src)
	if err != nil || raw == nil {
		return v, false, rest, err
	}
	v, err = s.Values.Decode(raw)
	return v, true, rest, err
}

func cutHeaders(src []byte) (headers []topology.Header, rest []byte, err error) {
	if len(src) < 4 {
		return nil, nil, errBuffered
	}
	count, rest := binary.BigEndian.Uint32(src), src[4:]
	if count > uint32(len(rest)/8) {
		return nil, nil, errBuffered
	}
	for range count {
		var key, value []byte
		if key, rest, err = cutSized(rest); err != nil {
			return nil, nil, err
		}
		if value, rest, err = cutSized(rest); err != nil {
			return nil, nil, err
		}
		headers = append(headers, topology.Header{Key: string(key), Value: value})
	}
	return headers, rest, nil
}

// cutSized takes a length and as many bytes; nil where the length is -1.
func cutSized(src []byte) (head, rest []byte, err error) {
	if len(src) < 4 {
		return nil, nil, errBuffered
	}
	size, rest := int32(binary.BigEndian.Uint32(src)), src[4:]
	switch {
	case size == noBytes:
		return nil, rest, nil
	case size < 0 || int(size) > len(rest):
		return nil, nil, errBuffered
	}
	return rest[:size:size], rest[size:], nil
}

// origin is where the record came from that is being processed.
func origin(in *topology.Instance) topology.Metadata {
	if in.Env.Source == nil {
		return topology.Metadata{Partition: -1, Offset: -1}
	}
	return in.Env.Source.Metadata()
}

// SpanKeys encodes keys of windowed tables as Kafka Streams does: the key, then end and start of a session, or the
// start alone of a window of a size.
type SpanKeys[K any] struct {
	Keys serde.Serde[K]
	Size int64 // milliseconds; below 0: it may be any
}

// Append appends key and window.
func (s SpanKeys[K]) Append(dst []byte, w Windowed[K]) ([]byte, error) {
	out, err := s.Keys.Append(dst, w.Key)
	if err != nil {
		return dst, err
	}
	if s.Size < 0 {
		out = binary.BigEndian.AppendUint64(out, uint64(w.Span.End))
	}
	return binary.BigEndian.AppendUint64(out, uint64(w.Span.Start)), nil
}

// Check says why the serdes within can never work, or nil.
func (s SpanKeys[K]) Check() error { return serde.Check(s.Keys) }

// CheckKey says why the keys are no good as keys, or nil.
func (s SpanKeys[K]) CheckKey() error { return serde.CheckKey(s.Keys) }

// Decode reads what Append wrote.
func (s SpanKeys[K]) Decode(src []byte) (w Windowed[K], err error) {
	tail := 16
	if s.Size >= 0 {
		tail = 8
	}
	n := len(src) - tail
	if n < 0 {
		return w, errors.New("windowed key: cut short")
	}
	w.Span.Start = int64(binary.BigEndian.Uint64(src[len(src)-8:]))
	if s.Size >= 0 {
		w.Span.End = w.Span.Start + min(s.Size, math.MaxInt64-w.Span.Start)
	} else {
		w.Span.End = int64(binary.BigEndian.Uint64(src[n:]))
	}
	w.Key, err = s.Keys.Decode(src[:n:n])
	return w, err
}
