package op

import (
	"errors"

	"thalweg/serde"
)

// HeldKey is the key of a record that is held until its window closes.
type HeldKey[K any] struct {
	Left bool
	Key  K
}

// HeldKeys encodes held keys: a byte for the side, 0 right, 1 left, and the key.
type HeldKeys[K any] struct{ Keys serde.Serde[K] }

// Append appends side and key.
func (s HeldKeys[K]) Append(dst []byte, k HeldKey[K]) ([]byte, error) {
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

// Decode reads what Append wrote.
func (s HeldKeys[K]) Decode(src []byte) (k HeldKey[K], err error) {
	if len(src) == 0 || src[0] > 1 {
		return k, errors.New("held key: no side")
	}
	k.Left = src[0] == 1
	k.Key, err = s.Keys.Decode(src[1:])
	return k, err
}

// Held is the values of one side that have the same key and time.
type Held[V, O any] struct {
	Left  []V
	Right []O
}

// HeldValues encodes held values: a byte for the side, and the list.
type HeldValues[V, O any] struct {
	Left  serde.Serde[[]V]
	Right serde.Serde[[]O]
}

// Append appends side and list.
func (s HeldValues[V, O]) Append(dst []byte, h Held[V, O]) (out []byte, err error) {
	if len(h.Left) > 0 {
		out, err = s.Left.Append(append(dst, 1), h.Left)
	} else {
		out, err = s.Right.Append(append(dst, 0), h.Right)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Decode reads what Append wrote.
func (s HeldValues[V, O]) Decode(src []byte) (h Held[V, O], err error) {
	switch {
	case len(src) == 0 || src[0] > 1:
		return h, errors.New("held values: no side")
	case src[0] == 1:
		h.Left, err = s.Left.Decode(src[1:])
	default:
		h.Right, err = s.Right.Decode(src[1:])
	}
	return h, err
}
