package state

import (
	"fmt"
	"reflect"
	"unsafe"
)

// valueStorage stores the payloads of a rowCache. There are two kinds. inlineValues stores values without pointers in
// the entries themselves. boxedValues stores all other values as encoded bytes in an arena, and keeps a bounded number
// of decoded objects beside it.
type valueStorage interface {
	// load fills a payload from encoded bytes, which it copies.
	load(index uint32, p unsafe.Pointer, encoded []byte) error
	// appendTo appends a payload's bytes to dst.
	appendTo(dst []byte, index uint32, p unsafe.Pointer) ([]byte, error)
	// encode appends the bytes of a value that lies at p and in no entry.
	encode(dst []byte, p unsafe.Pointer) ([]byte, error)
	// ensureEncoded encodes the object of a payload that has no bytes yet.
	ensureEncoded(index uint32, p unsafe.Pointer) error
	// captured is called after the payload of an entry, p, was copied to image. The image owns the bytes from now on.
	captured(p, image unsafe.Pointer)
	// release frees the bytes and the object of a payload.
	release(p unsafe.Pointer)
	// outsideBytes is the memory that a payload holds outside its entry.
	outsideBytes(p unsafe.Pointer) int64
	// committed is called after a commit. noImages says that no image holds a payload.
	committed(noImages bool)
	// reclaim frees unused memory when memory is short. images says that images hold payloads.
	reclaim(images bool)
	// dropObjects drops the decoded objects, because a processor may have changed them in place.
	dropObjects()
	bytes() int64
}

// valueCodec encodes and decodes the values of one type. A valueStorage does not know their type.
type valueCodec struct {
	// encode and decode a value that lies at p.
	encode func(dst []byte, p unsafe.Pointer) ([]byte, error)
	decode func(src []byte, p unsafe.Pointer) error
	// object returns the address of a decoded object. drop drops one, or allObjects.
	object func(number uint32) unsafe.Pointer
	drop   func(number int)
}

const allObjects = -1

// inlineValues stores values without pointers inside their entries.
type inlineValues struct{ values valueCodec }

func (f inlineValues) load(_ uint32, p unsafe.Pointer, encoded []byte) error {
	return f.values.decode(encoded, p)
}

func (f inlineValues) appendTo(dst []byte, _ uint32, p unsafe.Pointer) ([]byte, error) {
	return f.values.encode(dst, p)
}
func (f inlineValues) encode(dst []byte, p unsafe.Pointer) ([]byte, error) {
	return f.values.encode(dst, p)
}
func (f inlineValues) ensureEncoded(uint32, unsafe.Pointer) error { return nil }
func (f inlineValues) captured(unsafe.Pointer, unsafe.Pointer)    {}
func (f inlineValues) release(unsafe.Pointer)                     {}
func (f inlineValues) outsideBytes(unsafe.Pointer) int64          { return 0 }
func (f inlineValues) committed(bool)                             {}
func (f inlineValues) reclaim(bool)                               {}
func (f inlineValues) dropObjects()                               {}
func (f inlineValues) bytes() int64                               { return 0 }

// inlineBytesMax is the size of the largest value that an entry stores inline.
const inlineBytesMax = 256

// isInline reports whether values of a type have no pointers and are small enough to lie in their entries.
func isInline(t reflect.Type) bool {
	return t.Size() <= inlineBytesMax && !hasPointers(t)
}

func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr, reflect.Float32,
		reflect.Float64, reflect.Complex64, reflect.Complex128:
		return false
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case reflect.Struct:
		for field := range t.Fields() {
			if hasPointers(field.Type) {
				return true
			}
		}
		return false
	default:
		return true
	}
}

// decodeError adds the store and what was decoded to an error of a serde; nil stays nil.
func decodeError(store string, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %q: decode %s: %w (was its serde changed? wipe the store to restore it)", store, what, err)
}
