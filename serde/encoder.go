package serde

import "unsafe"

// Encoder encodes one value after the other for somebody who copies the bytes. Strings and bytes are not copied: their
// own memory is their encoding.
type Encoder[T any] struct {
	serde   Serde[T]
	own     ownMemory
	scratch []byte
}

// ownMemory says which values are their own encoding.
type ownMemory uint8

const (
	ownNone ownMemory = iota
	ownString
	ownBytes
)

// NewEncoder returns an encoder of values of s, for one goroutine.
//
//go:noinline // once per type and node is enough
func NewEncoder[T any](s Serde[T]) Encoder[T] {
	e := Encoder[T]{serde: Local(s)}
	switch any(s).(type) {
	case String:
		e.own = ownString
	case Bytes:
		e.own = ownBytes
	}
	return e
}

// Encode returns the bytes of v, never nil. They are valid until the next call, and not to be written to.
func (e *Encoder[T]) Encode[E Encoder[T]](v T) ([]byte, error) {
	switch e.own {
	case ownString:
		if s := *(*string)(unsafe.Pointer(&v)); len(s) > 0 {
			return unsafe.Slice(unsafe.StringData(s), len(s)), nil
		}
	case ownBytes:
		if b := *(*[]byte)(unsafe.Pointer(&v)); b != nil {
			return b, nil
		}
	case ownNone:
	}
	b, err := e.serde.Append(e.scratch[:0], v)
	if err != nil {
		return nil, err
	}
	e.scratch = notNil(b)
	return e.scratch, nil
}
