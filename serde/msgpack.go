package serde

import (
	"bytes"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5"
)

// Msgpack returns the MessagePack serde of T. A struct becomes a map from field names to values, so that fields may
// be added, removed and reordered: an unknown field is ignored, a missing one is zero. The tags are those of
// github.com/vmihailenco/msgpack: `msgpack:"name,omitempty"`, "-", ",inline".
//
// Strings may be views of the decoded bytes; a time is kept without its location.
//
// Map keys are sorted where they are strings and the values strings, bools or any; other maps come in no fixed order
// and are no good inside a key.
func Msgpack[T any]() Serde[T] { return newMsgpack[T](false) }

// MsgpackArray is Msgpack with structs as arrays of their fields' values: smaller and faster, and good only for types
// whose fields never change but by new ones at the end.
func MsgpackArray[T any]() Serde[T] { return newMsgpack[T](true) }

func newMsgpack[T any](arrays bool) Serde[T] {
	t := reflect.TypeFor[T]()
	if err := msgpackError(t); err != nil {
		return never[T]{err}
	}
	nilable, name := IsNilable[T](), t.String()
	if p, ok := planOf(t); ok {
		return planned[T]{plan: p, name: name, nilable: nilable, arrays: arrays}
	}
	return share(func() Serde[T] {
		m := &msgpackLocal[T]{name: name, nilable: nilable, v: new(T)}
		m.enc, m.dec = msgpack.NewEncoder(&m.out), msgpack.NewDecoder(&m.in)
		m.enc.SetSortMapKeys(true)
		m.enc.UseCompactInts(true)
		m.enc.UseArrayEncodedStructs(arrays)
		return m
	})
}

// planned is MessagePack by a plan. It has no scratch space.
type planned[T any] struct {
	plan    *plan
	name    string
	nilable bool
	arrays  bool
}

func (m planned[T]) Append(dst []byte, v T) ([]byte, error) {
	if m.nilable && firstWordNil(&v) {
		return dst, errNull(m.name)
	}
	out, err := m.plan.append(dst, unsafe.Pointer(&v), m.arrays, 0)
	if err != nil {
		return dst, fmt.Errorf("%s: %w", m.name, err)
	}
	return out, nil
}

func (m planned[T]) Decode(src []byte) (v T, err error) {
	if src == nil && m.nilable {
		return v, nil
	}
	rest, err := m.plan.decode(src, unsafe.Pointer(&v), 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after the value", len(rest))
	}
	if err != nil {
		var zero T
		return zero, fmt.Errorf("%s: %d bytes: msgpack: %w", m.name, len(src), err)
	}
	return v, nil
}

// msgpackLocal owns an encoder and a decoder, and a cell that makes values addressable without allocating.
type msgpackLocal[T any] struct {
	name    string
	nilable bool
	v       *T
	out     appender
	in      bytes.Reader
	enc     *msgpack.Encoder
	dec     *msgpack.Decoder
}

func (m *msgpackLocal[T]) Append(dst []byte, v T) ([]byte, error) {
	if m.nilable && firstWordNil(&v) {
		return dst, errNull(m.name)
	}
	var zero T
	*m.v, m.out.buf = v, dst
	err := m.enc.Encode(m.v)
	out := m.out.buf
	*m.v, m.out.buf = zero, nil
	if err != nil {
		return dst, fmt.Errorf("%s: %w", m.name, err)
	}
	return out, nil
}

func (m *msgpackLocal[T]) Decode(src []byte) (v T, err error) {
	if src == nil && m.nilable {
		return v, nil
	}
	if err := checkMsgpack(src); err != nil {
		return v, fmt.Errorf("%s: msgpack: %w", m.name, err)
	}
	var zero T
	*m.v = zero
	err = m.decode(src)
	v, *m.v = *m.v, zero
	if err != nil {
		return zero, fmt.Errorf("%s: %d bytes: %w", m.name, len(src), err)
	}
	return v, nil
}

// decode contains the panics with which the library answers some well-formed input of another shape, such as a nil
// where a type with a method wants bytes.
func (m *msgpackLocal[T]) decode(src []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("msgpack: the bytes do not fit the type: %v", p)
		}
	}()
	m.in.Reset(src)
	m.dec.ResetReader(&m.in)
	return m.dec.Decode(m.v)
}

// appender is the writer behind an encoder.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

func (a *appender) WriteByte(c byte) error {
	a.buf = append(a.buf, c)
	return nil
}
