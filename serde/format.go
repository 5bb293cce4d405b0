package serde

import (
	"fmt"
	"reflect"
	"strings"
)

// Format names how a Serde writes its values: two serdes of one type with the same name write the same bytes for equal
// values, two with different names do not. "" is no name: nothing is known. Building a topology compares the formats of
// keys that meet.
//
// The serdes of this package have names but for Compose2, Compose3 and PairOf, whose functions are the program's own. A
// Serde of the program's own takes part if it has the method Format() string.
func Format(s any) string {
	switch s := s.(type) {
	case coded:
		c := s.own()
		if c.cells != nil {
			return c.cells.format
		}
		return c.form.format()
	case orderly:
		return s.orderedBy().format()
	case interface{ Format() string }:
		return s.Format()
	default:
		return ""
	}
}

// Same tells whether two serdes are certainly equal: they are one value, or have one type and one [Format].
func Same(a, b any) bool {
	if a == nil || b == nil || reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	if name := Format(a); name != "" && name == Format(b) {
		return true
	}
	return identical(a, b)
}

func identical(a, b any) bool {
	v, w := reflect.ValueOf(a), reflect.ValueOf(b)
	return v.Comparable() && w.Comparable() && a == b
}

// SameBytes tells whether what a has decoded b certainly encodes in the bytes that it was decoded from: they are one
// value, or write a type that has one encoding alone.
func SameBytes(a, b any) bool {
	return identical(a, b) || Same(a, b) && isOneEncoding(Format(a))
}

// isOneEncoding tells whether a value has one encoding in a format: a built-in's, or that of a list of them.
func isOneEncoding(format string) bool {
	if elem, ok := strings.CutPrefix(format, formatList); ok {
		return isOneEncoding(elem)
	}
	switch format {
	case formatBytes, formatTime, formatUUID, reflect.String.String():
		return true
	}
	for k := reflect.Bool; k <= reflect.Float64; k++ {
		if format == k.String() {
			return true
		}
	}
	return false
}

// Differ tells whether two serdes of one type certainly write equal values in different bytes: both have a [Format],
// and these are not the same.
func Differ(a, b any) bool {
	x, y := Format(a), Format(b)
	return x != "" && y != "" && x != y
}

// formatOf names a format that depends on another one, which may have no name.
func formatOf(outer string, inner any) string {
	if name := Format(inner); name != "" {
		return outer + name
	}
	return ""
}

// Format names the format.
func (String) Format() string { return reflect.String.String() }

// Format names the format.
func (Bytes) Format() string { return formatBytes }

// Format names the format.
func (Int64) Format() string { return reflect.Int64.String() }

const (
	formatBytes = "bytes"
	formatTime  = "time"
	formatUUID  = "uuid"
	formatList  = "list of "
)

// format is the name of what the form writes.
func (f form) format() string {
	switch f.kind {
	case builtin(reflect.Int):
		return reflect.Int64.String()
	case builtin(reflect.Uint):
		return reflect.Uint64.String()
	case builtinBytes, builtinArray:
		return formatBytes
	case builtinTime:
		return formatTime
	case builtinUUID:
		return formatUUID
	case byPlan:
		return msgpackFormat(f.of, f.how.arrays)
	case byMethods:
		return f.how.methods.format(f.of)
	case byProtobuf:
		return "protobuf " + f.of.String()
	case refused:
		return ""
	default:
		return reflect.Kind(f.kind).String()
	}
}

func (m *methods) format(of reflect.Type) string {
	return fmt.Sprintf("%s methods of %s", m.name, of)
}

func msgpackFormat(t reflect.Type, arrays bool) string {
	if arrays && holdsStructs(t, map[reflect.Type]bool{}) {
		return "msgpack with arrays " + t.String()
	}
	return "msgpack " + t.String()
}

// holdsStructs tells whether there may be a struct in a t.
func holdsStructs(t reflect.Type, met map[reflect.Type]bool) bool {
	if met[t] {
		return false
	}
	met[t] = true
	switch t.Kind() {
	case reflect.Struct, reflect.Interface:
		return true
	case reflect.Map:
		return holdsStructs(t.Key(), met) || holdsStructs(t.Elem(), met)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holdsStructs(t.Elem(), met)
	default:
		return false
	}
}

// format is the name of the encoding. What it shares with the built-in one of the type has that one's name.
func (o *orderedForm) format() string {
	if o.why != nil {
		return ""
	}
	if len(o.fields) == 1 && o.of.Kind() != reflect.Struct {
		switch k := reflect.Kind(o.fields[0].kind); k {
		case reflect.Bool, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			return k.String()
		case reflect.Uint:
			return reflect.Uint64.String()
		case reflect.Array:
			return formatBytes
		}
	}
	return o.name
}

// Format names the format.
func (d descending[T]) Format() string { return formatOf("descending ", d.part) }

// Format names the format.
func (l list[T]) Format() string { return formatOf(formatList, l.elem) }

// Format names the format.
func (p pointer[T]) Format() string { return Format(p.elem) }

// Format names the format.
func (s versioned[T]) Format() string {
	return formatOf(fmt.Sprintf("version %d of ", s.version), s.current)
}

func (t through[B]) format() string { return Format(t.s) }
