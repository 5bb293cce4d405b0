package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// jsonRecord is a record as an object: what consume writes, and produce reads.
type jsonRecord struct {
	Topic     string          `json:"topic,omitempty"`
	Partition *int32          `json:"partition,omitempty"`
	Offset    *int64          `json:"offset,omitempty"`
	Timestamp string          `json:"timestamp,omitempty"`
	Key       json.RawMessage `json:"key,omitempty"`
	KeyBase64 []byte          `json:"key_base64,omitempty"` // where the key is no text
	Value     json.RawMessage `json:"value,omitempty"`
	ValueB64  []byte          `json:"value_base64,omitempty"`
	Headers   []jsonHeader    `json:"headers,omitempty"`
}

type jsonHeader struct {
	Name     string          `json:"name"`
	Value    json.RawMessage `json:"value,omitempty"`
	ValueB64 []byte          `json:"value_base64,omitempty"`
}

// jsonTime has the resolution of timestamps.
const jsonTime = "2006-01-02T15:04:05.000Z07:00"

func describeRecord(r *kgo.Record) jsonRecord {
	j := jsonRecord{
		Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, Timestamp: r.Timestamp.UTC().Format(jsonTime),
	}
	j.Key, j.KeyBase64 = describeBytes(r.Key)
	j.Value, j.ValueB64 = describeBytes(r.Value)
	for _, h := range r.Headers {
		out := jsonHeader{Name: h.Key}
		out.Value, out.ValueB64 = describeBytes(h.Value)
		j.Headers = append(j.Headers, out)
	}
	return j
}

// describeBytes returns a string or null, or what can't be a string as it is.
func describeBytes(b []byte) (json.RawMessage, []byte) {
	if b != nil && !utf8.Valid(b) {
		return nil, b
	}
	if b == nil {
		return json.RawMessage("null"), nil
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(string(b)) // a string can be encoded
	return json.RawMessage(bytes.TrimSuffix(text.Bytes(), []byte("\n"))), nil
}

// parseRecord reads an object that describes a record. Its topic and offset do not count.
func parseRecord(line []byte) (*kgo.Record, error) {
	var j jsonRecord
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	switch err := d.Decode(&j); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the line is empty: want an object")
	case err != nil:
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one object in a line")
	}
	r := &kgo.Record{Partition: anyPartition}
	var err error
	if r.Key, err = parseBytes("key", j.Key, j.KeyBase64); err != nil {
		return nil, err
	}
	if r.Value, err = parseBytes("value", j.Value, j.ValueB64); err != nil {
		return nil, err
	}
	if j.Partition != nil {
		r.Partition = *j.Partition
	}
	if j.Timestamp != "" {
		if r.Timestamp, err = parseTimestamp(j.Timestamp); err != nil {
			return nil, fmt.Errorf("timestamp %q: %w", j.Timestamp, err)
		}
	}
	for _, h := range j.Headers {
		value, err := parseBytes("value", h.Value, h.ValueB64)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.Name, err)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: value})
	}
	return r, nil
}

// parseBytes takes the text of a string, and any other JSON value as it is written.
func parseBytes(field string, value json.RawMessage, encoded []byte) ([]byte, error) {
	none := len(value) == 0 || bytes.Equal(value, []byte("null"))
	switch {
	case encoded != nil && !none:
		return nil, fmt.Errorf("%s and %s_base64: give one of them", field, field)
	case encoded != nil:
		return encoded, nil
	case none:
		return nil, nil
	case value[0] != '"':
		return value, nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// parseTimestamp reads a time, or milliseconds since 1970.
func parseTimestamp(s string) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 {
		return time.UnixMilli(ms), nil
	}
	t, err := parseTime(s)
	if err != nil {
		return t, errors.New("want a time such as 2026-01-31T08:00:00Z, or milliseconds since 1970")
	}
	return t, nil
}

// recordFormat is a line of text with the parts of a record, as kcat's -f has them.
type recordFormat []func(out []byte, r *kgo.Record) []byte

// formatHelp says what a format may have.
const formatHelp = "%t topic, %p partition, %o offset, %k key, %s value, %T timestamp in ms, %h headers, %K and %S " +
	"bytes of key and value (-1: null), %% a percent sign, \\n \\t \\\\ as usual"

func parseFormat(text, null string) (recordFormat, error) {
	var f recordFormat
	literal := func(s string) { f = append(f, func(out []byte, _ *kgo.Record) []byte { return append(out, s...) }) }
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '%' && c != '\\' {
			literal(text[i : i+1])
			continue
		}
		if i++; i == len(text) {
			return nil, fmt.Errorf("-format %q ends in %q: want %s", text, string(c), formatHelp)
		}
		part := formatPart(text[i-1:i+1], null)
		if part == nil {
			return nil, fmt.Errorf("-format %q has %q: want %s", text, text[i-1:i+1], formatHelp)
		}
		f = append(f, part)
	}
	return f, nil
}

func formatPart(token, null string) func(out []byte, r *kgo.Record) []byte {
	number := func(of func(r *kgo.Record) int64) func([]byte, *kgo.Record) []byte {
		return func(out []byte, r *kgo.Record) []byte { return strconv.AppendInt(out, of(r), 10) }
	}
	literal := func(s string) func([]byte, *kgo.Record) []byte {
		return func(out []byte, _ *kgo.Record) []byte { return append(out, s...) }
	}
	switch token {
	case "%%":
		return literal("%")
	case `\n`:
		return literal("\n")
	case `\t`:
		return literal("\t")
	case `\\`:
		return literal(`\`)
	case "%t":
		return func(out []byte, r *kgo.Record) []byte { return append(out, r.Topic...) }
	case "%p":
		return number(func(r *kgo.Record) int64 { return int64(r.Partition) })
	case "%o":
		return number(func(r *kgo.Record) int64 { return r.Offset })
	case "%T":
		return number(func(r *kgo.Record) int64 { return r.Timestamp.UnixMilli() })
	case "%K":
		return number(func(r *kgo.Record) int64 { return sizeOf(r.Key) })
	case "%S":
		return number(func(r *kgo.Record) int64 { return sizeOf(r.Value) })
	case "%k":
		return func(out []byte, r *kgo.Record) []byte { return appendOr(out, r.Key, null) }
	case "%s":
		return func(out []byte, r *kgo.Record) []byte { return appendOr(out, r.Value, null) }
	case "%h":
		return func(out []byte, r *kgo.Record) []byte {
			for i, h := range r.Headers {
				if i > 0 {
					out = append(out, ',')
				}
				out = appendOr(append(append(out, h.Key...), '='), h.Value, null)
			}
			return out
		}
	}
	return nil
}

func sizeOf(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}

func appendOr(out, b []byte, null string) []byte {
	if b == nil {
		return append(out, null...)
	}
	return append(out, b...)
}

// longValue is a record's value as the text of the 64-bit integer that it is; null stays null.
func longValue(r *kgo.Record) ([]byte, error) {
	switch {
	case r.Value == nil:
		return nil, nil
	case len(r.Value) != 8:
		return nil, fmt.Errorf("topic %s partition %d offset %d: the value has %d bytes, a 64-bit integer has 8",
			r.Topic, r.Partition, r.Offset, len(r.Value))
	}
	var n uint64
	for _, b := range r.Value {
		n = n<<8 | uint64(b)
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}
