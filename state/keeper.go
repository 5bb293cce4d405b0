package state

import (
	"fmt"
	"reflect"
	"unsafe"
)

// A keeper knows the payloads of a cache. There are two: values without pointers lie in the entries themselves (flat);
// all others lie as encoded bytes in an arena, with a bounded number of decoded objects beside it (raw).
type keeper interface {
	// load fills a payload from encoded bytes, which it copies.
	load(index uint32, p unsafe.Pointer, encoded []byte) error
	// appendTo appends a payload's bytes to dst.
	appendTo(dst []byte, index uint32, p unsafe.Pointer) ([]byte, error)
	// encode appends the bytes of a value that lies at p and in no entry.
	encode(dst []byte, p unsafe.Pointer) ([]byte, error)
	// settle makes sure that a payload can do without its object.
	settle(index uint32, p unsafe.Pointer) error
	// taken is called when the payload of an entry was copied to image, to be kept there as it is.
	taken(p, image unsafe.Pointer)
	// release gives up what a payload holds.
	release(p unsafe.Pointer)
	// outside is the memory that a payload holds outside its entry.
	outside(p unsafe.Pointer) int64
	// tidy is called after a commit: still tells that no payload lies outside the entries.
	tidy(still bool)
	// reclaim gives back what is not used, where memory is short: held tells that payloads lie outside the entries.
	reclaim(held bool)
	// forget drops decoded objects: somebody may have changed them in place.
	forget()
	bytes() int64
}

// typed is what a keeper does not know: the values of a type.
type typed struct {
	// encode and decode a value that lies at p.
	encode func(dst []byte, p unsafe.Pointer) ([]byte, error)
	decode func(src []byte, p unsafe.Pointer) error
	// object is where a decoded object lies, drop gives one up, or allObjects.
	object func(number uint32) unsafe.Pointer
	drop   func(number int)
}

const allObjects = -1

// flat is the keeper of values without pointers.
type flat struct{ values typed }

func (f flat) load(_ uint32, p unsafe.Pointer, encoded []byte) error {
	return f.values.decode(encoded, p)
}

func (f flat) appendTo(dst []byte, _ uint32, p unsafe.Pointer) ([]byte, error) {
	return f.values.encode(dst, p)
}
func (f flat) encode(dst []byte, p unsafe.Pointer) ([]byte, error) { return f.values.encode(dst, p) }
func (f flat) settle(uint32, unsafe.Pointer) error                 { return nil }
func (f flat) taken(unsafe.Pointer, unsafe.Pointer)                {}
func (f flat) release(unsafe.Pointer)                              {}
func (f flat) outside(unsafe.Pointer) int64                        { return 0 }
func (f flat) tidy(bool)                                           {}
func (f flat) reclaim(bool)                                        {}
func (f flat) forget()                                             {}
func (f flat) bytes() int64                                        { return 0 }

// flatBytesMax is the size of the largest value that lies inside its entry.
const flatBytesMax = 256

// isFlat tells whether values of a type hold no pointers and are small.
func isFlat(t reflect.Type) bool {
	return t.Size() <= flatBytesMax && !hasPointers(t)
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

// decodeError says which store could not read its own bytes, if one could not.
func decodeError(store string, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %q: decode %s: %w (was its serde changed? wipe the store to restore it)", store, what, err)
}
