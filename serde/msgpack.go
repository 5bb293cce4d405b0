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
func Msgpack[T any]() Serde[T] { return typed[T](findMsgpack(reflect.TypeOf((*T)(nil)).Elem(), false)) }

// MsgpackArray is Msgpack with structs as arrays of their fields' values: smaller and faster, and good only for types
// whose fields never change but by new ones at the end.
func MsgpackArray[T any]() Serde[T] {
	return typed[T](findMsgpack(reflect.TypeOf((*T)(nil)).Elem(), true))
}

func findMsgpack(t reflect.Type, arrays bool) found {
	if err := msgpackError(t); err != nil {
		return refuse(t, err)
	}
	if p, ok := planOf(t); ok {
		return found{coder: coder{form: form{
			kind: byPlan, of: t, how: &how{plan: p, arrays: arrays, nilable: isNilable(t)},
		}}}
	}
	known := cells{of: t, nilable: isNilable(t), noKey: unorderedError(t), format: msgpackFormat(t, arrays)}
	known.codec = func() cellCodec {
		m := &msgpackLibrary{of: t.String()}
		m.enc, m.dec = msgpack.NewEncoder(&m.out), msgpack.NewDecoder(&m.in)
		m.enc.SetSortMapKeys(true)
		m.enc.UseCompactInts(true)
		m.enc.UseArrayEncodedStructs(arrays)
		return m
	}
	return found{coder: viaCells(known)}
}

func (f form) appendPlanned(dst []byte, v unsafe.Pointer) ([]byte, error) {
	if f.how.nilable && isNull(v) {
		return dst, errNull(f.of.String())
	}
	out, err := f.how.plan.append(dst, v, f.how.arrays, 0)
	if err != nil {
		return dst, fmt.Errorf("%s: %w", f.of, err)
	}
	return out, nil
}

func (f form) decodePlanned(src []byte, v unsafe.Pointer) error {
	if src == nil && f.how.nilable {
		return nil
	}
	rest, err := f.how.plan.decode(src, v, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after the value", len(rest))
	}
	if err != nil {
		return fmt.Errorf("%s: %d bytes: msgpack: %w", f.of, len(src), err)
	}
	return nil
}

// msgpackLibrary is the codec of what has no plan. It owns an encoder and a decoder.
type msgpackLibrary struct {
	of  string
	out appender
	in  bytes.Reader
	enc *msgpack.Encoder
	dec *msgpack.Decoder
}

func (m *msgpackLibrary) append(dst []byte, c *cell) ([]byte, error) {
	m.out.buf = dst
	err := m.enc.Encode(c.holder)
	out := m.out.buf
	m.out.buf = nil
	if err != nil {
		return dst, fmt.Errorf("%s: %w", m.of, err)
	}
	return out, nil
}

func (m *msgpackLibrary) decode(src []byte, c *cell) error {
	if err := checkMsgpack(src); err != nil {
		return fmt.Errorf("%s: msgpack: %w", m.of, err)
	}
	if err := m.decodeInto(c.holder, src); err != nil {
		return fmt.Errorf("%s: %d bytes: %w", m.of, len(src), err)
	}
	return nil
}

// decodeInto contains the panics with which the library answers some well-formed input of another shape, such as a nil
// where a type with a method wants bytes.
func (m *msgpackLibrary) decodeInto(holder any, src []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("msgpack: the bytes do not fit the type: %v", p)
		}
	}()
	m.in.Reset(src)
	m.dec.ResetReader(&m.in)
	return m.dec.Decode(holder)
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
