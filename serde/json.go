package serde

import (
	"bytes"
	"encoding/json"
	"encoding/json/jsontext"
	jsonv2 "encoding/json/v2"
	"fmt"
	"reflect"
)

// JSON returns the serde of T as JSON, by the rules of encoding/json but without its escapes of HTML, and with sorted
// map keys. Unknown fields are ignored. A nil T is null and has no bytes; the text null decodes to the zero T.
func JSON[T any]() Serde[T] {
	if err := jsonError(reflect.TypeFor[T]()); err != nil {
		return never[T]{err}
	}
	options := jsonv2.JoinOptions(json.DefaultOptionsV1(), jsonv2.Deterministic(true), jsontext.EscapeForHTML(false))
	nilable, name := IsNilable[T](), reflect.TypeFor[T]().String()
	return share(func() Serde[T] { return &jsonLocal[T]{name: name, nilable: nilable, options: options, v: new(T)} })
}

type jsonLocal[T any] struct {
	name    string
	nilable bool
	options jsonv2.Options
	v       *T
	out     bytes.Buffer
}

func (j *jsonLocal[T]) Append(dst []byte, v T) ([]byte, error) {
	if j.nilable && firstWordNil(&v) {
		return dst, errNull(j.name)
	}
	var zero T
	*j.v = v
	j.out = *bytes.NewBuffer(dst)
	err := jsonv2.MarshalWrite(&j.out, j.v, j.options)
	out := j.out.Bytes()
	*j.v, j.out = zero, bytes.Buffer{}
	if err != nil {
		return dst, fmt.Errorf("%s: %w", j.name, err)
	}
	return out, nil
}

func (j *jsonLocal[T]) Decode(src []byte) (v T, err error) {
	if src == nil && j.nilable {
		return v, nil
	}
	var zero T
	*j.v = zero
	err = jsonv2.Unmarshal(src, j.v, j.options)
	v, *j.v = *j.v, zero
	if err != nil {
		return zero, fmt.Errorf("%s: %d bytes: %w", j.name, len(src), err)
	}
	return v, nil
}
