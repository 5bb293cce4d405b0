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
func JSON[T any]() Serde[T] { return typed[T](findJSON(reflect.TypeOf((*T)(nil)).Elem())) }

func findJSON(t reflect.Type) found {
	if err := jsonError(t); err != nil {
		return refuse(t, err)
	}
	options := jsonv2.JoinOptions(json.DefaultOptionsV1(), jsonv2.Deterministic(true), jsontext.EscapeForHTML(false))
	codec := func() cellCodec { return &jsonLibrary{of: t.String(), options: options} }
	return found{coder: viaCells(cells{of: t, nilable: isNilable(t), format: "json " + t.String(), codec: codec})}
}

type jsonLibrary struct {
	of      string
	options jsonv2.Options
	out     bytes.Buffer
}

func (j *jsonLibrary) append(dst []byte, c *cell) ([]byte, error) {
	j.out = *bytes.NewBuffer(dst)
	err := jsonv2.MarshalWrite(&j.out, c.holder, j.options)
	out := j.out.Bytes()
	j.out = bytes.Buffer{}
	if err != nil {
		return dst, fmt.Errorf("%s: %w", j.of, err)
	}
	return out, nil
}

func (j *jsonLibrary) decode(src []byte, c *cell) error {
	if err := jsonv2.Unmarshal(src, c.holder, j.options); err != nil {
		return fmt.Errorf("%s: %d bytes: %w", j.of, len(src), err)
	}
	return nil
}
