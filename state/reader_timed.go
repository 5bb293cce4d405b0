package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// WindowReader reads a window store in all namespaces of a Reader. Windows that have expired are seen until the next
// checkpoint.
type WindowReader[K, V any] struct{ rows timedRows[K, V] }

// Read returns the reading side of the store.
func (s Windowed[K, V]) Read(r *Reader) *WindowReader[K, V] {
	return &WindowReader[K, V]{timedRows[K, V]{r, s.spec.Name, s.codec.keys, s.codec.values, windowTail}}
}

// Get returns the value of key in the window that begins at start, with its timestamp.
func (v *WindowReader[K, V]) Get(key K, start int64) (value V, timestamp int64, ok bool, err error) {
	return v.rows.get(key, start, binary.BigEndian.AppendUint64(nil, uint64(start)))
}

// Fetch yields the windows of key that begin in [from, to], the oldest first. A failure is yielded as the last pair's
// error.
func (v *WindowReader[K, V]) Fetch(key K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return v.entries(v.rows.of(&key, from, to))
}

// All yields the windows of all keys that begin in [from, to], namespace by namespace.
func (v *WindowReader[K, V]) All(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return v.entries(v.rows.of(nil, from, to))
}

func (v *WindowReader[K, V]) entries(rows iter.Seq2[timedRow[K, V], error]) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		for r, err := range rows {
			if !yield(WindowEntry[K, V]{Key: r.key, Start: r.time, Value: r.value, Timestamp: r.timestamp}, err) {
				return
			}
		}
	}
}

// SessionReader reads a session store in all namespaces of a Reader. Sessions that have expired are seen until the next
// checkpoint.
type SessionReader[K, V any] struct{ rows timedRows[K, V] }

// Read returns the reading side of the store.
func (s Session[K, V]) Read(r *Reader) *SessionReader[K, V] {
	return &SessionReader[K, V]{timedRows[K, V]{r, s.spec.Name, s.codec.keys, s.codec.values, sessionTail}}
}

// Get returns the value of one session.
func (v *SessionReader[K, V]) Get(key K, start, end int64) (value V, ok bool, err error) {
	value, _, ok, err = v.rows.get(key, end, appendSession(nil, start, end))
	return value, ok, err
}

// Fetch yields the sessions of key that end in [from, to], by their ends. A failure is yielded as the last error.
func (v *SessionReader[K, V]) Fetch(key K, from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return v.entries(v.rows.of(&key, from, to))
}

// All yields the sessions of all keys that end in [from, to], namespace by namespace.
func (v *SessionReader[K, V]) All(from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return v.entries(v.rows.of(nil, from, to))
}

func (v *SessionReader[K, V]) entries(rows iter.Seq2[timedRow[K, V], error]) iter.Seq2[SessionEntry[K, V], error] {
	return func(yield func(SessionEntry[K, V], error) bool) {
		for r, err := range rows {
			if !yield(SessionEntry[K, V]{Key: r.key, Start: r.start, End: r.time, Value: r.value}, err) {
				return
			}
		}
	}
}

// timedRows reads rows of a key and a time: a window's start, a session's end.
type timedRows[K, V any] struct {
	reader *Reader
	name   string
	keys   serde.Serde[K]
	values serde.Serde[V]
	tail   int // bytes behind the key
}

type timedRow[K, V any] struct {
	key         K
	time, start int64 // start: of a session
	value       V
	timestamp   int64
}

// timedStore is where one namespace keeps the store: see package layout.
type timedStore struct {
	prefix   []byte // of the rows
	interval int64  // of segments, milliseconds
}

// segment is the beginning of a segment's rows.
func (s timedStore) segment(number int64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(s.prefix), uint64(number))
}

// stores finds the namespaces that have rows.
func (t timedRows[K, V]) stores() (stores []timedStore, err error) {
	for _, ns := range t.reader.namespaces {
		store := layout.Store(nil, ns, t.name)
		value, found, err := t.reader.from.Get(nil, append(bytes.Clone(store), layout.KindSegments))
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		interval, err := layout.Position(value)
		if err != nil {
			return nil, err
		}
		stores = append(stores, timedStore{append(store, layout.KindExpiring), interval})
	}
	return stores, nil
}

func (t timedRows[K, V]) failed(what string, err error) error {
	return fmt.Errorf("store %q: %s: %w", t.name, what, err)
}

func (t timedRows[K, V]) get(key K, time int64, tail []byte) (value V, timestamp int64, ok bool, err error) {
	stores, err := t.stores()
	if err != nil {
		return value, 0, false, t.failed("read", err)
	}
	for _, s := range stores {
		full, err := t.keys.Append(s.segment(time/s.interval), key)
		if err != nil {
			return value, 0, false, t.failed("encode key", err)
		}
		row, found, err := t.reader.from.Get(nil, append(full, tail...))
		if err != nil {
			return value, 0, false, t.failed("read", err)
		}
		if found {
			value, timestamp, err = t.decode(row)
			return value, timestamp, err == nil, err
		}
	}
	return value, 0, false, nil
}

func (t timedRows[K, V]) decode(row []byte) (value V, timestamp int64, err error) {
	timestamp, encoded, err := layout.Value(row)
	if err == nil {
		value, err = t.values.Decode(encoded)
	}
	if err != nil {
		err = decodeError(t.name, "value", err)
	}
	return value, timestamp, err
}

// of yields the rows of a key, or of all (nil), whose times are in [from, to].
func (t timedRows[K, V]) of(key *K, from, to int64) iter.Seq2[timedRow[K, V], error] {
	return func(yield func(timedRow[K, V], error) bool) {
		from := max(from, 0)
		stores, err := t.stores()
		var head []byte
		if err == nil && key != nil {
			head, err = t.keys.Append([]byte{}, *key)
		}
		for _, s := range stores {
			if err != nil || to < from {
				break
			}
			var more bool
			if more, err = t.scan(s, head, from, to, yield); !more && err == nil {
				return
			}
		}
		if err != nil {
			yield(timedRow[K, V]{}, t.failed("scan", err))
		}
	}
}

// scan yields the rows of one namespace; a head that is not nil is the bytes of the one key that is asked for.
func (t timedRows[K, V]) scan(
	s timedStore, head []byte, from, to int64, yield func(timedRow[K, V], error) bool,
) (more bool, err error) {
	it, err := t.reader.from.Iterate(s.segment(from/s.interval), s.segment(to/s.interval+1))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; {
		segment := bytes.Clone(it.Key()[:len(s.prefix)+8])
		if head != nil {
			ok = it.SeekGE(binary.BigEndian.AppendUint64(append(bytes.Clone(segment), head...), uint64(from)))
		}
		for ; ok && bytes.HasPrefix(it.Key(), append(segment, head...)); ok = it.Next() {
			r, in, err := t.row(it, it.Key()[len(segment):], head, from, to)
			if err != nil {
				return false, err
			}
			if in && !yield(r, nil) {
				return false, nil
			}
		}
		if ok && bytes.HasPrefix(it.Key(), segment) { // what other keys have there
			number := int64(binary.BigEndian.Uint64(segment[len(s.prefix):]))
			ok = it.SeekGE(s.segment(number + 1))
		}
	}
	return true, it.Error()
}

// row reads the row at hand; in tells whether it is asked for.
func (t timedRows[K, V]) row(
	it engine.Iterator, key, head []byte, from, to int64,
) (r timedRow[K, V], in bool, err error) {
	n := len(key) - t.tail
	if n < 0 || head != nil && n != len(head) {
		return r, false, nil // a longer key that begins as this one does
	}
	r.time = int64(binary.BigEndian.Uint64(key[n:]))
	if r.time < from || r.time > to {
		return r, false, nil
	}
	if t.tail == sessionTail {
		_, r.start, _ = splitSession(key)
	}
	if r.key, err = t.keys.Decode(bytes.Clone(key[:n])); err != nil {
		return r, false, decodeError(t.name, "key", err)
	}
	row, err := it.Value()
	if err != nil {
		return r, false, err
	}
	r.value, r.timestamp, err = t.decode(bytes.Clone(row))
	return r, true, err
}
