package serde

import (
	"encoding"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5"
)

// The methods that are not in the standard library's encoding package.
type (
	msgAppender        interface{ MarshalMsg([]byte) ([]byte, error) }
	msgDecoder         interface{ UnmarshalMsg([]byte) ([]byte, error) }
	msgpackAppender    interface{ AppendMsgpack([]byte) ([]byte, error) }
	msgpackMarshaler   interface{ MarshalMsgpack() ([]byte, error) }
	msgpackUnmarshaler interface{ UnmarshalMsgpack([]byte) error }
)

// methods is one way in which a type may encode itself.
type methods struct {
	name    string
	encodes []reflect.Type // one of them is enough
	decodes reflect.Type
	write   func(v any, dst []byte) ([]byte, error)
	read    func(v any, src []byte) error
}

// knownMethods are in order of preference.
func knownMethods() []methods {
	return []methods{
		{
			"binary",
			[]reflect.Type{reflect.TypeFor[encoding.BinaryAppender](), reflect.TypeFor[encoding.BinaryMarshaler]()},
			reflect.TypeFor[encoding.BinaryUnmarshaler](),
			appendBinary, func(v any, src []byte) error { return v.(encoding.BinaryUnmarshaler).UnmarshalBinary(src) },
		},
		{
			"msgp",
			[]reflect.Type{reflect.TypeFor[msgAppender]()}, reflect.TypeFor[msgDecoder](),
			func(v any, dst []byte) ([]byte, error) { return v.(msgAppender).MarshalMsg(dst) }, decodeMsg,
		},
		{
			"msgpack",
			[]reflect.Type{reflect.TypeFor[msgpackAppender](), reflect.TypeFor[msgpackMarshaler]()},
			reflect.TypeFor[msgpackUnmarshaler](),
			appendMsgpack, func(v any, src []byte) error { return v.(msgpackUnmarshaler).UnmarshalMsgpack(src) },
		},
		{
			"text",
			[]reflect.Type{reflect.TypeFor[encoding.TextAppender](), reflect.TypeFor[encoding.TextMarshaler]()},
			reflect.TypeFor[encoding.TextUnmarshaler](),
			appendText, func(v any, src []byte) error { return v.(encoding.TextUnmarshaler).UnmarshalText(src) },
		},
	}
}

// methodsOf finds the methods with which a T, or a *T where T is no pointer, encodes and decodes itself.
func methodsOf(t reflect.Type) (methods, bool) {
	if t.Kind() == reflect.Interface {
		return methods{}, false
	}
	on := methodHolder(t)
	for _, m := range knownMethods() {
		if m.name == "text" && hasMsgpackMethods(t) {
			break
		}
		for _, e := range m.encodes {
			if on.Implements(e) && on.Implements(m.decodes) {
				return m, true
			}
		}
	}
	return methods{}, false
}

// hasMsgpackMethods tells whether t encodes itself by the methods that the MessagePack library knows.
func hasMsgpackMethods(t reflect.Type) bool {
	on := methodHolder(t)
	return on.Implements(reflect.TypeFor[msgpack.CustomEncoder]()) &&
		on.Implements(reflect.TypeFor[msgpack.CustomDecoder]())
}

// methodHolder is *T, whose methods include those of T, unless T is a pointer itself.
func methodHolder(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t
	}
	return reflect.PointerTo(t)
}

func appendBinary(v any, dst []byte) ([]byte, error) {
	if a, ok := v.(encoding.BinaryAppender); ok {
		return a.AppendBinary(dst)
	}
	b, err := v.(encoding.BinaryMarshaler).MarshalBinary()
	return append(dst, b...), err
}

func appendMsgpack(v any, dst []byte) ([]byte, error) {
	if a, ok := v.(msgpackAppender); ok {
		return a.AppendMsgpack(dst)
	}
	b, err := v.(msgpackMarshaler).MarshalMsgpack()
	return append(dst, b...), err
}

func appendText(v any, dst []byte) ([]byte, error) {
	if a, ok := v.(encoding.TextAppender); ok {
		return a.AppendText(dst)
	}
	b, err := v.(encoding.TextMarshaler).MarshalText()
	return append(dst, b...), err
}

func decodeMsg(v any, src []byte) error {
	rest, err := v.(msgDecoder).UnmarshalMsg(src)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after the value", len(rest))
	}
	return err
}

func ownMethods(t reflect.Type, m methods) found {
	if t.Kind() == reflect.Pointer {
		return found{coder: coder{form: form{
			kind: byMethods, of: t, how: &how{methods: m, null: reflect.Zero(t).Interface()},
		}}}
	}
	codec := own{m, t.String()}
	return found{coder: viaCells(cells{
		of: t, nilable: isNilable(t), format: m.format(t), codec: func() cellCodec { return codec },
	})}
}

// own is the codec of a type with methods of its own.
type own struct {
	methods
	of string
}

func (o own) append(dst []byte, c *cell) ([]byte, error) {
	return o.methods.encode(o.of, dst, c.holder)
}
func (o own) decode(src []byte, c *cell) error { return o.methods.decodeInto(o.of, c.holder, src) }

// appendMethods calls the methods of a pointer on itself.
func (f form) appendMethods(dst []byte, v unsafe.Pointer) ([]byte, error) {
	if v == nil {
		return dst, errNull(f.of.String())
	}
	return f.how.methods.encode(f.of.String(), dst, boxed(f.how.null, v))
}

func (f form) decodeMethods(src []byte, v *unsafe.Pointer) error {
	if src == nil {
		return nil
	}
	elem := reflect.New(f.of.Elem()).UnsafePointer()
	if err := f.how.methods.decodeInto(f.of.String(), boxed(f.how.null, elem), src); err != nil {
		return err
	}
	*v = elem
	return nil
}

func (m *methods) encode(of string, dst []byte, holder any) ([]byte, error) {
	out, err := m.write(holder, notNil(dst))
	if err != nil {
		return dst, fmt.Errorf("%s: %s: %w", of, m.name, err)
	}
	return out, nil
}

func (m *methods) decodeInto(of string, holder any, src []byte) error {
	if err := m.read(holder, src); err != nil {
		return fmt.Errorf("%s: %s: %d bytes: %w", of, m.name, len(src), err)
	}
	return nil
}
