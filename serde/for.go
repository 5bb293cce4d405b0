package serde

import (
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
)

// For returns the serde of T that the package comment's rules give to its type. It never fails: a type without an
// encoding gets a serde that Check refuses. Call it once, when something is built: it reflects.
func For[T any]() Serde[T] { return typed[T](find(reflect.TypeOf((*T)(nil)).Elem())) }

// found is the serde of a type, without the type.
type found struct {
	exact any // a serde that is taken as it is where it has the type
	coder
}

func typed[T any](f found) Serde[T] {
	if s, ok := f.exact.(Serde[T]); ok {
		return s
	}
	return &value[T]{f.coder}
}

func viaCells(c cells) coder { return coder{cells: newCells(c)} }

func find(t reflect.Type) found {
	if b := builtinOf(t); b != notBuiltin {
		return found{exact: exactly(b), coder: coder{form: form{kind: b, of: t}}}
	}
	if f, ok := derived(t); ok {
		return f
	}
	if t.Kind() != reflect.Interface && t.Implements(reflect.TypeFor[proto.Message]()) {
		return protobuf(t)
	}
	if m, ok := methodsOf(t); ok {
		return ownMethods(t, m)
	}
	if err := lossyError(t); err != nil {
		return refuse(t, err)
	}
	return findMsgpack(t, false)
}

// builtin says which of the built-in encodings a type has; most are named by a kind.
type builtin reflect.Kind

const (
	notBuiltin   = builtin(reflect.Invalid)
	builtinBytes = builtin(reflect.Slice)
	builtinArray = builtin(reflect.Array)
	builtinTime  = builtin(reflect.Struct)
	builtinUUID  = builtin(reflect.Interface)
)

func builtinOf(t reflect.Type) builtin {
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		return builtinUUID
	case reflect.TypeFor[time.Time]():
		return builtinTime
	}
	if _, own := methodsOf(t); own || hasMsgpackMethods(t) {
		return notBuiltin
	}
	switch k := t.Kind(); k {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return builtin(k)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return builtinBytes
		}
	case reflect.Array:
		switch {
		case t.Elem().Kind() != reflect.Uint8 || t.Len() == 0:
			return notBuiltin
		case t.Len() == 16:
			return builtinUUID
		default:
			return builtinArray
		}
	case reflect.Struct:
		if t.ConvertibleTo(reflect.TypeFor[time.Time]()) {
			return builtinTime
		}
	}
	return notBuiltin
}

// exactly returns the serde of the type that a built-in encoding is named for, where it is a type of its own.
func exactly(b builtin) any {
	switch b {
	case builtin(reflect.String):
		return String{}
	case builtinBytes:
		return Bytes{}
	case builtin(reflect.Int64):
		return Int64{}
	default:
		return nil
	}
}

// derived returns the serde of a pointer to a built-in or of a slice of them.
func derived(t reflect.Type) (found, bool) {
	if k := t.Kind(); k != reflect.Pointer && k != reflect.Slice {
		return found{}, false
	}
	// A named slice may have methods that say how it wants to be encoded. A pointer has those of its element, for
	// which builtinOf has looked.
	if _, own := methodsOf(t); t.Kind() == reflect.Slice && (own || hasMsgpackMethods(t)) {
		return found{}, false
	}
	core, exact := derivedFrom(builtinOf(t.Elem()), t.Kind() == reflect.Pointer)
	if core == nil {
		return found{}, false
	}
	lend := func() cellCodec { return lent{core.local()} }
	return found{exact: exact, coder: viaCells(cells{of: t, size: core.size(), format: core.format(), codec: lend})}, true
}

// derivedFrom returns the serde of a pointer to the type that b stands for, or of a slice of it: as itself, and
// without its type for types of the same representation.
func derivedFrom(b builtin, pointer bool) (core untyped, exact any) {
	switch b {
	case builtin(reflect.String):
		return derive[string](pointer)
	case builtinBytes:
		return derive[[]byte](pointer)
	case builtin(reflect.Bool):
		return derive[bool](pointer)
	case builtin(reflect.Int):
		return derive[int](pointer)
	case builtin(reflect.Int8):
		return derive[int8](pointer)
	case builtin(reflect.Int16):
		return derive[int16](pointer)
	case builtin(reflect.Int32):
		return derive[int32](pointer)
	case builtin(reflect.Int64):
		return derive[int64](pointer)
	case builtin(reflect.Uint):
		return derive[uint](pointer)
	case builtin(reflect.Uint8):
		return derive[uint8](pointer)
	case builtin(reflect.Uint16):
		return derive[uint16](pointer)
	case builtin(reflect.Uint32):
		return derive[uint32](pointer)
	case builtin(reflect.Uint64):
		return derive[uint64](pointer)
	case builtin(reflect.Float32):
		return derive[float32](pointer)
	case builtin(reflect.Float64):
		return derive[float64](pointer)
	case builtinTime:
		return derive[time.Time](pointer)
	case builtinUUID:
		return derive[uuid.UUID](pointer)
	default:
		return nil, nil
	}
}

func derive[E any](pointer bool) (untyped, any) {
	if pointer {
		s := Pointer(For[E]())
		return through[*E]{s}, s
	}
	s := List(For[E]())
	return through[[]E]{s}, s
}

// untyped is a serde that reaches its values through pointers.
type untyped interface {
	append(dst []byte, v unsafe.Pointer) ([]byte, error)
	decode(src []byte, v unsafe.Pointer) error
	local() untyped
	size() int
	format() string
}

type through[B any] struct{ s Serde[B] }

func (t through[B]) append(dst []byte, v unsafe.Pointer) ([]byte, error) {
	return t.s.Append(dst, *(*B)(v))
}

func (t through[B]) decode(src []byte, v unsafe.Pointer) (err error) {
	*(*B)(v), err = t.s.Decode(src)
	return err
}

func (t through[B]) local() untyped { return through[B]{Local(t.s)} }
func (t through[B]) size() int      { return sizeOf(t.s) }

// lent lends a serde to a type of the same representation as its own.
type lent struct{ as untyped }

func (l lent) append(dst []byte, c *cell) ([]byte, error) { return l.as.append(dst, c.value) }
func (l lent) decode(src []byte, c *cell) error           { return l.as.decode(src, c.value) }

// refuse gives t a serde that has nothing but the reason why there is none.
func refuse(t reflect.Type, why error) found {
	return found{coder: coder{form: form{kind: refused, of: t, how: &how{why: why}}}}
}

func errUnsupported(t reflect.Type, format string, args ...any) error {
	return fmt.Errorf("serde of %s: %s: choose another type, or give the topic or store a serde of your own",
		t, fmt.Sprintf(format, args...))
}
