package op

import (
	"cmp"
	"encoding/binary"
	"errors"

	"thalweg/serde"
)

// Pair is a key within a key.
type Pair[K, I any] struct {
	Key    K
	Within I
}

// PairKeys encodes pairs: the length of the key (varint), the key, and what is within it.
type PairKeys[K, I any] struct {
	Keys   serde.Serde[K]
	Within serde.Serde[I]
}

// Append appends both.
func (s PairKeys[K, I]) Append(dst []byte, p Pair[K, I]) ([]byte, error) {
	key, err := s.Keys.Append(nil, p.Key)
	if err != nil {
		return dst, err
	}
	out, err := s.Within.Append(append(binary.AppendUvarint(dst, uint64(len(key))), key...), p.Within)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Check says why the serdes within can never work, or nil.
func (s PairKeys[K, I]) Check() error { return cmp.Or(serde.Check(s.Keys), serde.Check(s.Within)) }

// CheckKey says why the keys are no good as keys, or nil.
func (s PairKeys[K, I]) CheckKey() error {
	return cmp.Or(serde.CheckKey(s.Keys), serde.CheckKey(s.Within))
}

// Decode reads what Append wrote.
func (s PairKeys[K, I]) Decode(src []byte) (p Pair[K, I], err error) {
	key, rest, err := cut(src)
	if err != nil {
		return p, err
	}
	if p.Key, err = s.Keys.Decode(key); err != nil {
		return p, err
	}
	p.Within, err = s.Within.Decode(rest)
	return p, err
}

var errPair = errors.New("key within a key: cut short")

// cut takes a length and as many bytes.
func cut(src []byte) (head, rest []byte, err error) {
	size, n := binary.Uvarint(src)
	if n <= 0 || size > uint64(len(src)-n) {
		return nil, nil, errPair
	}
	end := n + int(size)
	return src[n:end:end], src[end:], nil
}
