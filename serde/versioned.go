package serde

import (
	"errors"
	"fmt"
)

// Versioned returns a serde that writes a version byte before the bytes of current, and reads the older versions that
// it is given as well. When the encoding of a type changes incompatibly, give the new one the next number and keep the
// old one as an Upcast: what was stored under the old number is read by it and written anew on the next change.
//
//	version (1) ‖ the bytes of that version's serde
func Versioned[T any](version byte, current Serde[T], older ...Version[T]) Serde[T] {
	return versioned[T]{version: version, current: current, older: older}
}

// A Version decodes one older encoding of T. Upcast makes it.
type Version[T any] struct {
	number byte
	decode func(src []byte) (T, error)
	check  func() error
}

// Upcast says that version number of a Versioned[T] was written as an Old by s, and how an Old becomes a T.
func Upcast[Old, T any](number byte, s Serde[Old], up func(Old) (T, error)) Version[T] {
	return Version[T]{
		number: number,
		decode: func(src []byte) (v T, err error) {
			old, err := s.Decode(src)
			if err != nil {
				return v, err
			}
			return up(old)
		},
		check: func() error { return Check(s) },
	}
}

type versioned[T any] struct {
	version byte
	current Serde[T]
	older   []Version[T]
}

func (s versioned[T]) Append(dst []byte, v T) ([]byte, error) {
	out, err := s.current.Append(append(dst, s.version), v)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (s versioned[T]) Decode(src []byte) (v T, err error) {
	if len(src) == 0 {
		if src == nil && IsNilable[T]() {
			return v, nil
		}
		return v, errors.New("versioned: want a version byte, got 0 bytes")
	}
	number, rest := src[0], src[1:]
	if number == s.version {
		v, err = s.current.Decode(rest)
	} else {
		v, err = s.decodeOlder(number, rest)
	}
	if err != nil {
		return v, fmt.Errorf("version %d: %w", number, err)
	}
	return v, nil
}

func (s versioned[T]) decodeOlder(number byte, src []byte) (v T, err error) {
	for _, o := range s.older {
		if o.number == number {
			return o.decode(src)
		}
	}
	return v, fmt.Errorf("unknown: this program writes version %d and reads %d older ones", s.version, len(s.older))
}

func (s versioned[T]) Local() Serde[T] {
	s.current = Local(s.current)
	return s
}

func (s versioned[T]) Check() error {
	numbers := map[byte]bool{s.version: true}
	for _, o := range s.older {
		if numbers[o.number] {
			return fmt.Errorf("versioned: version %d is there twice", o.number)
		}
		numbers[o.number] = true
		if err := o.check(); err != nil {
			return fmt.Errorf("versioned: version %d: %w", o.number, err)
		}
	}
	return Check(s.current)
}
