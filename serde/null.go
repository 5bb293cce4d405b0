package serde

import (
	"reflect"
	"unsafe"
)

// IsNilable tells whether T has a nil value that stands for null: pointer, slice, map or interface.
func IsNilable[T any]() bool { return isNilable(reflect.TypeOf((*T)(nil)).Elem()) }

func isNilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	default:
		return false
	}
}

// NullOf returns the function that tells whether a T is null, or nil when T has no null. Ask once, when a node is
// built; the function neither allocates nor reflects. What it is pointed at escapes, as with every function value:
// point it at a slot that lives on the heap anyway, such as a field of the node.
func NullOf[T any]() func(*T) bool {
	if !IsNilable[T]() {
		return nil
	}
	return firstWordNil[T]
}

func firstWordNil[T any](v *T) bool { return isNull(unsafe.Pointer(v)) }

// IsNull tells whether the value at v, of a type for which IsNilable holds, is null: for code that knows no types.
func IsNull(v unsafe.Pointer) bool { return isNull(v) }

// isNull serves all nilable kinds: a pointer and a map are one word; a slice begins with its data pointer, which is nil
// for the nil slice alone (an empty one points somewhere); an interface begins with its type.
func isNull(v unsafe.Pointer) bool { return *(*unsafe.Pointer)(v) == nil }
