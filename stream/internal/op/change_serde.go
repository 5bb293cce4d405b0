package op

import (
	"encoding/binary"
	"errors"

	"thalweg/serde"
	"thalweg/topology"
)

// ChangeSerde encodes changes of rows for a repartition topic, in Kafka Streams' form (KIP-904): the last byte tells
// what stands before it.
//
//	new 01                       a row appeared
//	old 00                       a row went
//	length(varint) new old 02    a row changed and stayed in its group; length is that of new
type ChangeSerde[V any] struct{ Values serde.Serde[V] }

const (
	onlyOld byte = 0
	onlyNew byte = 1
	both    byte = 2
)

// Append encodes a change that has at least one side.
func (s ChangeSerde[V]) Append(dst []byte, c topology.Change[V]) ([]byte, error) {
	var err error
	begin := dst
	switch {
	case c.HasNew && c.HasOld:
		at := len(dst)
		if dst, err = s.Values.Append(dst, c.New); err != nil {
			return begin, err
		}
		var prefix [binary.MaxVarintLen64]byte
		n := binary.PutUvarint(prefix[:], uint64(len(dst)-at))
		dst = append(dst, prefix[:n]...)
		copy(dst[at+n:], dst[at:len(dst)-n])
		copy(dst[at:], prefix[:n])
		if dst, err = s.Values.Append(dst, c.Old); err != nil {
			return begin, err
		}
		return append(dst, both), nil
	case c.HasNew:
		if dst, err = s.Values.Append(dst, c.New); err != nil {
			return begin, err
		}
		return append(dst, onlyNew), nil
	case c.HasOld:
		if dst, err = s.Values.Append(dst, c.Old); err != nil {
			return begin, err
		}
		return append(dst, onlyOld), nil
	}
	return begin, errors.New("change: neither old nor new")
}

// Check says why the serdes within can never work, or nil.
func (s ChangeSerde[V]) Check() error { return serde.Check(s.Values) }

// Decode reads what Append wrote.
func (s ChangeSerde[V]) Decode(src []byte) (c topology.Change[V], err error) {
	if len(src) == 0 {
		return c, errors.New("change: empty")
	}
	body := src[:len(src)-1]
	switch src[len(src)-1] {
	case onlyOld:
		c.HasOld = true
		c.Old, err = s.Values.Decode(body)
	case onlyNew:
		c.HasNew = true
		c.New, err = s.Values.Decode(body)
	case both:
		size, n := binary.Uvarint(body)
		if n <= 0 || size > uint64(len(body)-n) {
			return c, errors.New("change: the length of the new row is wrong")
		}
		c.HasNew, c.HasOld = true, true
		if c.New, err = s.Values.Decode(body[n : n+int(size)]); err == nil {
			c.Old, err = s.Values.Decode(body[n+int(size):])
		}
	default:
		return c, errors.New("change: unknown form")
	}
	return c, err
}
