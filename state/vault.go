package state

import (
	"fmt"
	"reflect"

	"thalweg/serde"
)

// A vault knows the payloads of a shelf. There are two: values without pointers lie in the entries themselves (flat);
// all others lie as encoded bytes in an arena, with a bounded number of decoded objects beside it (raw).
type vault[P any] interface {
	// load fills a payload from encoded bytes, which it copies.
	load(index uint32, p *P, encoded []byte) error
	// appendTo appends a payload's bytes to dst.
	appendTo(dst []byte, index uint32, p *P) ([]byte, error)
	// settle makes sure that a payload can do without its object.
	settle(index uint32, p *P) error
	// take moves a payload out of its entry, to be kept as it is.
	take(p *P) P
	// release gives up what a payload holds.
	release(p *P)
	// tidy is called after a commit: still tells that no payload lies outside the entries.
	tidy(still bool)
	// forget drops decoded objects: somebody may have changed them in place.
	forget()
	bytes() int64
}

// flat is the vault of values without pointers.
type flat[V any] struct{ values serde.Serde[V] }

func (f flat[V]) load(_ uint32, p *V, encoded []byte) (err error) {
	*p, err = f.values.Decode(encoded)
	return err
}

func (f flat[V]) appendTo(dst []byte, _ uint32, p *V) ([]byte, error) {
	return f.values.Append(dst, *p)
}
func (f flat[V]) settle(uint32, *V) error { return nil }
func (f flat[V]) take(p *V) V             { return *p }
func (f flat[V]) release(*V)              {}
func (f flat[V]) tidy(bool)               {}
func (f flat[V]) forget()                 {}
func (f flat[V]) bytes() int64            { return 0 }

// flatBytesMax is the size of the largest value that lies inside its entry.
const flatBytesMax = 256

// isFlat tells whether values of T hold no pointers and are small.
func isFlat[T any]() bool {
	t := reflect.TypeFor[T]()
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

// decodeError says which store could not read its own bytes.
func decodeError(store string, what string, err error) error {
	return fmt.Errorf("store %q: decode %s: %w (was its serde changed? wipe the store to restore it)", store, what, err)
}
