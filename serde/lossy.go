package serde

import (
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/protobuf/proto"
)

// lossyError explains what MessagePack would lose of a T whose serde nobody named, or returns nil: the unexported
// fields of a struct that has exported ones, too. A struct without exported fields is refused by msgpackError.
//
// A type that writes itself is not checked. A tag msgpack:"-" says that the field need not be kept, and so does naming
// the serde. Fields without data do not count: those of no size, locks, and what a generated message keeps for itself.
func lossyError(t reflect.Type) error {
	return lossy{root: t, met: map[reflect.Type]bool{}}.check(t, "")
}

type lossy struct {
	root reflect.Type
	met  map[reflect.Type]bool
}

func (l lossy) check(t reflect.Type, path string) error {
	if l.met[t] || writesItself(t) || methodHolder(t).Implements(reflect.TypeFor[proto.Message]()) {
		return nil
	}
	l.met[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return l.check(t.Elem(), path)
	case reflect.Map:
		if err := l.check(t.Key(), path); err != nil {
			return err
		}
		return l.check(t.Elem(), path)
	case reflect.Struct:
		return l.fields(t, path)
	}
	return nil
}

func (l lossy) fields(t reflect.Type, path string) error {
	kept, lost := false, ""
	for f := range t.Fields() {
		switch {
		case f.Tag.Get("msgpack") == "-" || f.Name == "_" || f.Name == "_msgpack":
		case f.IsExported() || f.Anonymous && isStruct(f.Type): // whose exported fields are kept
			kept = true
			if err := l.check(f.Type, path+"."+f.Name); err != nil {
				return err
			}
		case lost == "" && holdsData(f.Type):
			lost = f.Name
		}
	}
	if !kept || lost == "" {
		return nil
	}
	at := ""
	if path != "" {
		at = fmt.Sprintf("field %s: ", path[1:])
	}
	return fmt.Errorf("serde of %s: %sthe field %s of %s is not exported, so that it would be lost: export it, tag it "+
		`msgpack:"-" if it need not be kept, give the type methods that encode it (MarshalBinary and UnmarshalBinary), `+
		"or name a serde, which says that this is meant: serde.Msgpack[%s]()", l.root, at, lost, t, l.root)
}

// isStruct tells whether a type is a struct or a pointer to one.
func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

// holdsData tells whether there is something in a t that could be lost.
func holdsData(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[sync.Mutex](), reflect.TypeFor[sync.RWMutex](), reflect.TypeFor[sync.Once](),
		reflect.TypeFor[sync.WaitGroup](), reflect.TypeFor[sync.Cond](), reflect.TypeFor[sync.Pool]():
		return false
	}
	if t.Kind() == reflect.Pointer {
		return holdsData(t.Elem())
	}
	return t.Size() > 0
}
