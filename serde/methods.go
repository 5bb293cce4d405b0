package serde

import (
	"encoding"
	"fmt"
	"reflect"

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
	append  func(v any, dst []byte) ([]byte, error)
	decode  func(v any, src []byte) error
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

func ownMethods[T any](m methods) Serde[T] {
	t := reflect.TypeFor[T]()
	o := own[T]{methods: m, name: t.String(), nilable: IsNilable[T]()}
	if t.Kind() == reflect.Pointer {
		return ownPointer[T]{own: o, elem: t.Elem()}
	}
	return share(func() Serde[T] {
		v := new(T)
		return &ownValue[T]{own: o, v: v, holder: v}
	})
}

// own is what the serdes of types with methods of their own share.
type own[T any] struct {
	methods
	name    string
	nilable bool
}

func (o *own[T]) encode(dst []byte, holder any) ([]byte, error) {
	out, err := o.append(holder, notNil(dst))
	if err != nil {
		return dst, fmt.Errorf("%s: %s: %w", o.name, o.methods.name, err)
	}
	return out, nil
}

func (o *own[T]) decodeInto(holder any, src []byte) error {
	if err := o.decode(holder, src); err != nil {
		return fmt.Errorf("%s: %s: %d bytes: %w", o.name, o.methods.name, len(src), err)
	}
	return nil
}

// ownPointer serves a pointer type, whose methods are called on the value itself.
type ownPointer[T any] struct {
	own[T]
	elem reflect.Type
}

func (o ownPointer[T]) Append(dst []byte, v T) ([]byte, error) {
	if firstWordNil(&v) {
		return dst, errNull(o.name)
	}
	return o.encode(dst, v)
}

func (o ownPointer[T]) Decode(src []byte) (v T, err error) {
	if src == nil {
		return v, nil
	}
	holder := reflect.New(o.elem).Convert(reflect.TypeFor[T]()).Interface()
	if err := o.decodeInto(holder, src); err != nil {
		return v, err
	}
	return holder.(T), nil
}

// ownValue serves a type that is no pointer: the methods are called on a cell that is kept, so that nothing is
// allocated to make a value addressable.
type ownValue[T any] struct {
	own[T]
	v      *T
	holder any // v, boxed once
}

func (o *ownValue[T]) Append(dst []byte, v T) ([]byte, error) {
	if o.nilable && firstWordNil(&v) {
		return dst, errNull(o.name)
	}
	*o.v = v
	out, err := o.encode(dst, o.holder)
	o.clear()
	return out, err
}

func (o *ownValue[T]) Decode(src []byte) (v T, err error) {
	if src == nil && o.nilable {
		return v, nil
	}
	o.clear() // a method that panicked may have left something
	if err = o.decodeInto(o.holder, src); err == nil {
		v = *o.v
	}
	o.clear()
	return v, err
}

func (o *ownValue[T]) clear() {
	var zero T
	*o.v = zero
}
