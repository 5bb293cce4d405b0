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
func For[T any]() Serde[T] {
	t := reflect.TypeFor[T]()
	if b := builtinOf(t); b != notBuiltin {
		return builtinSerde[T](b, t)
	}
	if s, ok := derived[T](t); ok {
		return s
	}
	if t.Kind() != reflect.Interface && t.Implements(reflect.TypeFor[proto.Message]()) {
		return protobuf[T]{}
	}
	if m, ok := methodsOf(t); ok {
		return ownMethods[T](m)
	}
	return Msgpack[T]()
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

// builtinSerde returns the serde of T, whose representation is that of b.
func builtinSerde[T any](b builtin, t reflect.Type) Serde[T] {
	for _, exact := range []any{String{}, Bytes{}, Int64{}} {
		if s, ok := exact.(Serde[T]); ok {
			return s
		}
	}
	switch b {
	case builtin(reflect.String):
		return text[T]{}
	case builtinBytes:
		return blob[T]{}
	case builtin(reflect.Bool):
		return boolean[T]{}
	case builtin(reflect.Int):
		return integer[T]{}
	case builtin(reflect.Uint):
		return unsigned[T]{}
	case builtinArray:
		return array[T]{name: t.String()}
	case builtinTime:
		return instant[T]{}
	case builtinUUID:
		return uuidText[T]{}
	default:
		return fixed[T]{name: t.Kind().String()}
	}
}

// derived returns the serde of a pointer to a built-in or of a slice of them.
func derived[T any](t reflect.Type) (Serde[T], bool) {
	if k := t.Kind(); k != reflect.Pointer && k != reflect.Slice {
		return nil, false
	}
	// A named slice may have methods that say how it wants to be encoded. A pointer has those of its element, for
	// which builtinOf has looked.
	if _, own := methodsOf(t); t.Kind() == reflect.Slice && (own || hasMsgpackMethods(t)) {
		return nil, false
	}
	core, exact := derivedFrom(builtinOf(t.Elem()), t.Kind() == reflect.Pointer)
	if s, ok := exact.(Serde[T]); ok {
		return s, true
	}
	return recast[T]{core}, core != nil
}

// derivedFrom returns the serde of a pointer to the type that b stands for, or of a slice of it: as itself, and
// without its type for types of the same representation. It knows no type parameter, so that For costs the compiler
// no more than one copy of recast per type.
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
	element := builtinSerde[E](builtinOf(reflect.TypeFor[E]()), reflect.TypeFor[E]())
	if pointer {
		s := Pointer(element)
		return through[*E]{s}, s
	}
	s := List(element)
	return through[[]E]{s}, s
}

// untyped is a serde that reaches its values through pointers.
type untyped interface {
	append(dst []byte, v unsafe.Pointer) ([]byte, error)
	decode(src []byte, v unsafe.Pointer) error
	local() untyped
	size() int
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

// recast lends a serde to T, a type of the same representation as its own.
type recast[T any] struct{ as untyped }

func (r recast[T]) Append(dst []byte, v T) ([]byte, error) {
	return r.as.append(dst, unsafe.Pointer(&v))
}

func (r recast[T]) Decode(src []byte) (v T, err error) {
	err = r.as.decode(src, unsafe.Pointer(&v))
	return v, err
}

func (r recast[T]) Local() Serde[T] { return recast[T]{r.as.local()} }
func (r recast[T]) size() int       { return r.as.size() }

// never is the serde of a type that has none.
type never[T any] struct{ why error }

func (n never[T]) Append(dst []byte, _ T) ([]byte, error) { return dst, n.why }
func (n never[T]) Decode([]byte) (v T, err error)         { return v, n.why }
func (n never[T]) Check() error                           { return n.why }

func errUnsupported(t reflect.Type, format string, args ...any) error {
	return fmt.Errorf("serde of %s: %s: choose another type, or give the topic or store a serde of your own",
		t, fmt.Sprintf(format, args...))
}
