package serde

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// A plan is how a type is laid out in memory and in MessagePack, found out once. It covers bool, numbers, strings,
// byte slices, times, and structs, slices and pointers of them; the library, which is several times slower, does what
// is left: maps, arrays, interfaces, embedded fields, rarer tags, types with methods of their own. The bytes of both
// are the same language, each reads the other's.
type plan struct {
	kind   planKind
	bits   uint8        // of a number
	elem   *plan        // of a pointer or slice
	of     reflect.Type // what a pointer or slice allocates: the element or the slice type
	stride uintptr      // from one element of a slice to the next
	name   string       // of a struct, for errors
	fields []planField
}

type planKind uint8

const (
	planBool planKind = iota
	planInt
	planUint
	planFloat
	planString
	planBytes
	planTime
	planStruct
	planSlice
	planPointer
)

type planField struct {
	offset    uintptr
	key       string // the encoded name: header and bytes
	name      string
	omitEmpty bool
	plan      *plan
}

// planOf returns the plan of t, or false where the library is needed. It expects a type that msgpackError accepts.
func planOf(t reflect.Type) (*plan, bool) {
	return planner{}.plan(t)
}

// planner remembers the types that it has met, for a type may contain itself.
type planner map[reflect.Type]*plan

func (ps planner) plan(t reflect.Type) (*plan, bool) {
	if p, met := ps[t]; met {
		return p, true
	}
	p := &plan{}
	ps[t] = p
	if t == reflect.TypeFor[time.Time]() {
		p.kind = planTime
		return p, true
	}
	if speaksForItself(t) {
		return nil, false
	}
	switch k := t.Kind(); k {
	case reflect.Bool:
		p.kind = planBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.kind, p.bits = planInt, uint8(t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p.kind, p.bits = planUint, uint8(t.Bits())
	case reflect.Float32, reflect.Float64:
		p.kind, p.bits = planFloat, uint8(t.Bits())
	case reflect.String:
		p.kind = planString
	case reflect.Struct:
		return p, ps.fields(p, t)
	case reflect.Pointer, reflect.Slice:
		return p, ps.element(p, t)
	default:
		return nil, false
	}
	return p, true
}

func (ps planner) element(p *plan, t reflect.Type) (ok bool) {
	elem := t.Elem()
	if t.Kind() == reflect.Slice && elem.Kind() == reflect.Uint8 {
		p.kind = planBytes
		return !speaksForItself(elem)
	}
	p.kind, p.of, p.stride = planPointer, elem, elem.Size()
	if t.Kind() == reflect.Slice {
		p.kind, p.of = planSlice, t
	}
	p.elem, ok = ps.plan(elem)
	return ok && p.stride > 0
}

func (ps planner) fields(p *plan, t reflect.Type) bool {
	p.kind, p.name = planStruct, t.String()
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
		switch {
		case f.Anonymous || f.Name == "_msgpack" || options != "" && options != "omitempty":
			return false
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		sub, ok := ps.plan(f.Type)
		// The library has its own idea of which struct is empty.
		if !ok || options != "" && sub.kind == planStruct {
			return false
		}
		p.fields = append(p.fields, planField{
			offset: f.Offset, key: string(appendMsgpackString(nil, name)), name: name,
			omitEmpty: options != "", plan: sub,
		})
	}
	for i, f := range p.fields {
		for _, g := range p.fields[:i] {
			if f.name == g.name {
				return false
			}
		}
	}
	return true
}

// speaksForItself tells whether the library would ask a method of t for one direction or the other.
func speaksForItself(t reflect.Type) bool {
	on := methodHolder(t)
	for _, m := range []reflect.Type{
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder](),
		reflect.TypeFor[msgpackMarshaler](), reflect.TypeFor[msgpackUnmarshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
		reflect.TypeFor[error](),
	} {
		if on.Implements(m) && t.Kind() != reflect.Pointer {
			return true
		}
	}
	return false
}
