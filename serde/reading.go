package serde

import (
	"reflect"
	"strings"
)

// Reading is what is known of reading values in one format that were written in another: see [ReadingOf].
type Reading uint8

// What is known of it.
const (
	Readable   Reading = iota // the formats are one, or one of them has no name
	Doubtful                  // the names differ, and it is not certain that the bytes do
	Unreadable                // the bytes certainly differ: reading fails, or gives other values
)

// ReadingOf tells what is known of reading values in the format now that were written in the format was: these are
// names that [Format] returns. A Go type that is renamed has another name, and the same bytes. So names of one encoding
// (JSON, msgpack, protobuf) that differ in the type are Doubtful, unless both are basic types of different kinds.
// Another version of a [Versioned] is Readable: it says itself which older ones it reads.
func ReadingOf(was, now string) Reading {
	if was == "" || now == "" || was == now {
		return Readable
	}
	a, b := encodingOf(was), encodingOf(now)
	switch {
	case a.name == formatBytes || b.name == formatBytes:
		return Doubtful // any bytes are bytes
	case a.name != b.name:
		return Unreadable
	case a.version != b.version:
		return Readable
	case a.elem != "" || b.elem != "":
		return ReadingOf(a.elem, b.elem)
	case a.kind != "" && b.kind != "" && a.kind != b.kind:
		return Unreadable
	}
	return Doubtful
}

// written is what the name of a format says.
type written struct {
	name    string // without the type
	version string // of a Versioned
	elem    string // the format inside
	kind    string // of values of a basic type: those of one kind have the same encoding; "": not known
}

func encodingOf(format string) written {
	if elem, ok := strings.CutPrefix(format, formatList); ok {
		return written{name: formatList, elem: elem}
	}
	word, rest, _ := strings.Cut(format, " ")
	if strings.HasPrefix(rest, "methods of ") {
		if word == "msgp" {
			word = "msgpack"
		}
		return written{name: word}
	}
	switch word {
	case "version":
		if number, inner, ok := strings.Cut(rest, " of "); ok {
			return written{name: word, version: number, elem: inner}
		}
	case "descending":
		return written{name: word, elem: rest}
	case "ordered":
		return written{name: word, kind: kindsOfBasics[rest].ordered}
	case "json", "msgpack", "protobuf":
		return written{name: word, kind: kindsOfBasics[strings.TrimPrefix(rest, "with arrays ")].text}
	}
	if format == formatUUID { // which is text
		format = reflect.String.String()
	}
	if k, ok := kindsOfBasics[format]; ok {
		return written{name: k.fixed}
	}
	return written{name: format}
}

// basicKind says with which other basic types a type shares its encoding.
type basicKind struct{ fixed, ordered, text string }

// kindsOfBasics are the kinds of Go's basic types, by name. Signed and unsigned integers of one size count as one in
// the fixed encoding: small values have the same bytes.
var kindsOfBasics = func() map[string]basicKind {
	kinds := map[string]basicKind{
		"bool":   {"bool", "bool", "bool"},
		"string": {"string", "string", "string"},
	}
	for k := reflect.Int; k <= reflect.Uint64; k++ {
		name := k.String()
		size := strings.TrimPrefix(strings.TrimPrefix(name, "u"), "int")
		if size == "" {
			size = "64"
		}
		sign := strings.TrimSuffix(name, size)
		kinds[name] = basicKind{"int" + size, sign + size, "number"}
	}
	for _, k := range []reflect.Kind{reflect.Float32, reflect.Float64} {
		kinds[k.String()] = basicKind{k.String(), k.String(), "number"}
	}
	return kinds
}()
