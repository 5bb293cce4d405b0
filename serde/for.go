package serde

import (
	"fmt"
	"reflect"
	"time"

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
	switch builtinOf(t.Elem()) {
	case builtin(reflect.String):
		return derive[T, string](t), true
	case builtinBytes:
		return derive[T, []byte](t), true
	case builtin(reflect.Bool):
		return derive[T, bool](t), true
	case builtin(reflect.Int):
		return derive[T, int](t), true
	case builtin(reflect.Int8):
		return derive[T, int8](t), true
	case builtin(reflect.Int16):
		return derive[T, int16](t), true
	case builtin(reflect.Int32):
		return derive[T, int32](t), true
	case builtin(reflect.Int64):
		return derive[T, int64](t), true
	case builtin(reflect.Uint):
		return derive[T, uint](t), true
	case builtin(reflect.Uint8):
		return derive[T, uint8](t), true
	case builtin(reflect.Uint16):
		return derive[T, uint16](t), true
	case builtin(reflect.Uint32):
		return derive[T, uint32](t), true
	case builtin(reflect.Uint64):
		return derive[T, uint64](t), true
	case builtin(reflect.Float32):
		return derive[T, float32](t), true
	case builtin(reflect.Float64):
		return derive[T, float64](t), true
	case builtinTime:
		return derive[T, time.Time](t), true
	case builtinUUID:
		return derive[T, uuid.UUID](t), true
	default:
		return nil, false
	}
}

// derive serves T, a pointer to or a slice of a type with the representation of E, through *E or []E.
func derive[T, E any](t reflect.Type) Serde[T] {
	if t.Kind() == reflect.Pointer {
		return as[T, *E](Pointer(For[E]()))
	}
	return as[T, []E](List(For[E]()))
}

func as[T, B any](s Serde[B]) Serde[T] {
	if s, ok := s.(Serde[T]); ok {
		return s
	}
	return recast[T, B]{s}
}

// recast lends the serde of B to T, a type of the same representation.
type recast[T, B any] struct{ as Serde[B] }

func (r recast[T, B]) Append(dst []byte, v T) ([]byte, error) { return r.as.Append(dst, cast[B](v)) }

func (r recast[T, B]) Decode(src []byte) (T, error) {
	v, err := r.as.Decode(src)
	return cast[T](v), err
}

func (r recast[T, B]) Local() Serde[T] { return recast[T, B]{Local(r.as)} }
func (r recast[T, B]) size() int       { return sizeOf(r.as) }

// never is the serde of a type that has none.
type never[T any] struct{ why error }

func (n never[T]) Append(dst []byte, _ T) ([]byte, error) { return dst, n.why }
func (n never[T]) Decode([]byte) (v T, err error)         { return v, n.why }
func (n never[T]) Check() error                           { return n.why }

func errUnsupported(t reflect.Type, format string, args ...any) error {
	return fmt.Errorf("serde of %s: %s: choose another type, or give the topic or store a serde of your own",
		t, fmt.Sprintf(format, args...))
}
