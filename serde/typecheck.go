package serde

import (
	"encoding"
	"encoding/json"
	"reflect"

	"github.com/vmihailenco/msgpack/v5"
)

// unsupported explains why neither JSON nor MessagePack can keep a T, or returns nil. exempt tells the types that
// speak for themselves.
func unsupported(t reflect.Type, exempt func(reflect.Type) bool) error {
	c := typeCheck{root: t, exempt: exempt, seen: map[reflect.Type]bool{}}
	return c.check(t, "")
}

type typeCheck struct {
	root   reflect.Type
	exempt func(reflect.Type) bool
	seen   map[reflect.Type]bool

	unordered bool // maps are refused, too, where they have no order
}

func (c *typeCheck) check(t reflect.Type, path string) error {
	if c.seen[t] || c.exempt(t) {
		return nil
	}
	c.seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		return c.fail(path, "%s has no encoding", t)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return c.fail(path, "bytes cannot say which type is behind the interface %s", t)
		}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return c.check(t.Elem(), path)
	case reflect.Map:
		if c.unordered && !sorted(t) {
			return c.fail(path, "a map is encoded in no fixed order, so equal keys could have different bytes")
		}
		if err := c.check(t.Key(), path); err != nil {
			return err
		}
		return c.check(t.Elem(), path)
	case reflect.Struct:
		return c.checkStruct(t, path)
	}
	return nil
}

func (c *typeCheck) checkStruct(t reflect.Type, path string) error {
	exported := 0
	for f := range t.Fields() {
		if !f.IsExported() && !f.Anonymous || f.Tag.Get("json") == "-" || f.Tag.Get("msgpack") == "-" {
			continue
		}
		exported++
		if err := c.check(f.Type, path+"."+f.Name); err != nil {
			return err
		}
	}
	if exported == 0 && t.NumField() > 0 && t.Size() > 0 {
		return c.fail(path, "%s has no exported field: nothing of it would be kept", t)
	}
	return nil
}

func (c *typeCheck) fail(path, format string, args ...any) error {
	if path != "" {
		format, args = "field %s: "+format, append([]any{path[1:]}, args...)
	}
	return errUnsupported(c.root, format, args...)
}

// unorderedError explains why MessagePack may write equal values of t in different ways, or returns nil.
func unorderedError(t reflect.Type) error {
	c := typeCheck{root: t, exempt: writesItself, unordered: true, seen: map[reflect.Type]bool{}}
	return c.check(t, "")
}

// sorted tells whether MessagePack writes maps of the type in the order of their keys.
func sorted(t reflect.Type) bool {
	e := t.Elem()
	return t.Key() == reflect.TypeFor[string]() &&
		(e == reflect.TypeFor[string]() || e == reflect.TypeFor[bool]() || e == reflect.TypeFor[any]())
}

func jsonError(t reflect.Type) error {
	return unsupported(t, func(t reflect.Type) bool {
		on := methodHolder(t)
		return on.Implements(reflect.TypeFor[json.Marshaler]()) || on.Implements(reflect.TypeFor[encoding.TextMarshaler]())
	})
}

func msgpackError(t reflect.Type) error {
	return unsupported(t, writesItself)
}

// writesItself tells whether MessagePack asks a type for its encoding.
func writesItself(t reflect.Type) bool {
	on := methodHolder(t)
	return on.Implements(reflect.TypeFor[msgpack.CustomEncoder]()) ||
		on.Implements(reflect.TypeFor[msgpackMarshaler]()) ||
		on.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) ||
		on.Implements(reflect.TypeFor[encoding.TextMarshaler]()) ||
		t == reflect.TypeFor[error]()
}
