package op

import (
	"cmp"
	"encoding/binary"
	"errors"

	"thalweg/serde"
)

// UnmatchedKey is the key of a record without a match, which is held until its window closes.
type UnmatchedKey[K any] struct {
	Left bool
	Key  K
}

// UnmatchedKeys encodes the keys: a byte for the side, 0 right, 1 left, and the key.
type UnmatchedKeys[K any] struct{ Keys serde.Serde[K] }

// Append appends side and key.
func (s UnmatchedKeys[K]) Append(dst []byte, k UnmatchedKey[K]) ([]byte, error) {
	side := byte(0)
	if k.Left {
		side = 1
	}
	out, err := s.Keys.Append(append(dst, side), k.Key)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Check says why the serdes within can never work, or nil.
func (s UnmatchedKeys[K]) Check() error { return serde.Check(s.Keys) }

// CheckKey says why the keys are no good as keys, or nil.
func (s UnmatchedKeys[K]) CheckKey() error { return serde.CheckKey(s.Keys) }

// Decode reads what Append wrote.
func (s UnmatchedKeys[K]) Decode(src []byte) (k UnmatchedKey[K], err error) {
	if len(src) == 0 || src[0] > 1 {
		return k, errors.New("key of an unmatched record: no side")
	}
	k.Left = src[0] == 1
	k.Key, err = s.Keys.Decode(src[1:])
	return k, err
}

// Unmatched is the values of one side without a match that have the same key and time.
type Unmatched[V, O any] struct {
	Left  []V
	Right []O
}

// UnmatchedValues encodes the values as Kafka Streams does, as a list:
//
//	1 · number of values(4) · for each: length(4), side(1), value
type UnmatchedValues[V, O any] struct {
	Left  serde.Serde[V]
	Right serde.Serde[O]
}

// unmatchedList says that the elements of the list differ in length.
const unmatchedList byte = 1

var errUnmatched = errors.New("unmatched values: cut short, or of both sides")

// Append appends the list.
func (s UnmatchedValues[V, O]) Append(dst []byte, h Unmatched[V, O]) (out []byte, err error) {
	out = binary.BigEndian.AppendUint32(append(dst, unmatchedList), uint32(len(h.Left)+len(h.Right)))
	for i := range h.Left {
		if out, err = appendUnmatched(out, 1, s.Left, h.Left[i]); err != nil {
			return dst, err
		}
	}
	for i := range h.Right {
		if out, err = appendUnmatched(out, 0, s.Right, h.Right[i]); err != nil {
			return dst, err
		}
	}
	return out, nil
}

func appendUnmatched[V any](dst []byte, side byte, values serde.Serde[V], v V) ([]byte, error) {
	at := len(dst)
	out, err := values.Append(append(dst, 0, 0, 0, 0, side), v)
	if err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	return out, nil
}

// Check says why the serdes within can never work, or nil.
func (s UnmatchedValues[V, O]) Check() error {
	return cmp.Or(serde.Check(s.Left), serde.Check(s.Right))
}

// Decode reads what Append wrote.
func (s UnmatchedValues[V, O]) Decode(src []byte) (h Unmatched[V, O], err error) {
	if len(src) < 5 || src[0] != unmatchedList {
		return h, errUnmatched
	}
	count, rest := binary.BigEndian.Uint32(src[1:]), src[5:]
	for range count {
		var raw []byte
		if raw, rest, err = cutSized(rest); err != nil || len(raw) == 0 {
			return h, errUnmatched
		}
		switch {
		case raw[0] == 1 && len(h.Right) == 0:
			h.Left, err = appendDecoded(h.Left, s.Left, raw[1:])
		case raw[0] == 0 && len(h.Left) == 0:
			h.Right, err = appendDecoded(h.Right, s.Right, raw[1:])
		default:
			err = errUnmatched
		}
		if err != nil {
			return h, err
		}
	}
	if len(rest) > 0 || count == 0 {
		return h, errUnmatched
	}
	return h, nil
}

func appendDecoded[V any](list []V, values serde.Serde[V], raw []byte) ([]V, error) {
	v, err := values.Decode(raw)
	return append(list, v), err
}
