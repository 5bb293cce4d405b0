package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// WindowReader reads a window store in all namespaces of a Reader. Windows that an operator has given up
// are seen until the next checkpoint.
type WindowReader[K, V any] struct {
	rows  timedRows
	codec codec[K, V]
}

// Read returns the reading side of the store.
func (s Windowed[K, V]) Read[R *Reader](r R) *WindowReader[K, V] {
	if known, ok := (*Reader)(r).named(s.Name()).(Windowed[K, V]); ok {
		s = known
	}
	return &WindowReader[K, V]{rowsOf(s.name, r, windowTail), codecOf[K, V](s.name)}
}

// Get returns the value of key in the window that begins at start, with its timestamp.
func (v *WindowReader[K, V]) Get(key K, start int64) (value V, timestamp int64, ok bool, err error) {
	b, err := encodeKey(v.rows.name, v.codec.keys, key)
	if err != nil {
		return value, 0, false, err
	}
	encoded, timestamp, ok, err := v.rows.get(binary.BigEndian.AppendUint64(b, uint64(start)), start)
	if ok {
		value, err = decodeValue(v.rows.name, v.codec.values, encoded)
	}
	return value, timestamp, ok && err == nil, err
}

// Fetch yields the windows of key that begin in [from, to], the oldest first. A failure is yielded as the last pair's
// error.
func (v *WindowReader[K, V]) Fetch(key K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	head, err := encodeKey(v.rows.name, v.codec.keys, key)
	return v.entries(head, err, from, to)
}

// All yields the windows of all keys that begin in [from, to], namespace by namespace.
func (v *WindowReader[K, V]) All(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return v.entries(nil, nil, from, to)
}

//go:noinline // see package comment
func (v *WindowReader[K, V]) entries(head []byte, err error, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		err := err
		if err == nil {
			err = v.rows.of(head, from, to, func(r timedRow) bool {
				e := WindowEntry[K, V]{Start: r.time, Timestamp: r.timestamp}
				var err error
				if e.Key, err = decodeKey(v.rows.name, v.codec.keys, r.key); err == nil {
					e.Value, err = decodeValue(v.rows.name, v.codec.values, r.value)
				}
				return yield(e, err) && err == nil
			})
		}
		if err != nil {
			yield(WindowEntry[K, V]{}, err)
		}
	}
}

// SessionReader reads a session store in all namespaces of a Reader. Sessions that an operator has given up
// are seen until the next checkpoint.
type SessionReader[K, V any] struct {
	rows  timedRows
	codec codec[K, V]
}

// Read returns the reading side of the store.
func (s Session[K, V]) Read[R *Reader](r R) *SessionReader[K, V] {
	if known, ok := (*Reader)(r).named(s.Name()).(Session[K, V]); ok {
		s = known
	}
	return &SessionReader[K, V]{rowsOf(s.name, r, sessionTail), codecOf[K, V](s.name)}
}

// Get returns the value of one session.
func (v *SessionReader[K, V]) Get(key K, start, end int64) (value V, ok bool, err error) {
	b, err := encodeKey(v.rows.name, v.codec.keys, key)
	if err != nil {
		return value, false, err
	}
	encoded, _, ok, err := v.rows.get(appendSession(b, start, end), end)
	if ok {
		value, err = decodeValue(v.rows.name, v.codec.values, encoded)
	}
	return value, ok && err == nil, err
}

// Fetch yields the sessions of key that end in [from, to], by their ends. A failure is yielded as the last error.
func (v *SessionReader[K, V]) Fetch(key K, from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	head, err := encodeKey(v.rows.name, v.codec.keys, key)
	return v.entries(head, err, from, to)
}

// All yields the sessions of all keys that end in [from, to], namespace by namespace.
func (v *SessionReader[K, V]) All(from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return v.entries(nil, nil, from, to)
}

//go:noinline // see package comment
func (v *SessionReader[K, V]) entries(head []byte, err error, from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return func(yield func(SessionEntry[K, V], error) bool) {
		err := err
		if err == nil {
			err = v.rows.of(head, from, to, func(r timedRow) bool {
				e := SessionEntry[K, V]{Start: r.start, End: r.time}
				var err error
				if e.Key, err = decodeKey(v.rows.name, v.codec.keys, r.key); err == nil {
					e.Value, err = decodeValue(v.rows.name, v.codec.values, r.value)
				}
				return yield(e, err) && err == nil
			})
		}
		if err != nil {
			yield(SessionEntry[K, V]{}, err)
		}
	}
}

// timedRows reads rows of a key and a time: a window's start, a session's end.
type timedRows struct {
	reader *Reader
	name   string
	tail   int   // bytes behind the key
	keep   int64 // milliseconds that a store keeps that expires by itself; 0: all
}

func rowsOf(n name, r *Reader, tail int) timedRows {
	return timedRows{r, n.Name(), tail, n.Spec().Retention.Milliseconds()}
}

type timedRow struct {
	key         []byte
	time, start int64 // start: of a session
	value       []byte
	timestamp   int64
}

// timedStore is where one namespace keeps the store: see package layout.
type timedStore struct {
	prefix   []byte // of the rows
	interval int64  // of segments, milliseconds
	floor    int64  // what is older was given up
}

// segment is the beginning of a segment's rows.
func (s timedStore) segment(number int64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(s.prefix), uint64(number))
}

// stores finds the namespaces that have rows.
func (t *timedRows) stores() (stores []timedStore, err error) {
	for _, ns := range t.reader.namespaces {
		store := layout.Store(nil, ns, t.name)
		value, found, err := t.reader.from.Get(nil, append(bytes.Clone(store), layout.KindSegments))
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		s := timedStore{prefix: append(store, layout.KindExpiring)}
		newest := int64(-1)
		if s.interval, newest, err = layout.Segments(value); err != nil {
			return nil, err
		}
		if t.keep > 0 && newest >= 0 {
			s.floor = max(newest-t.keep+1, 0)
		}
		stores = append(stores, s)
	}
	return stores, nil
}

// get returns the row of a key that ends in a time.
func (t *timedRows) get(key []byte, time int64) (value []byte, timestamp int64, found bool, err error) {
	stores, err := t.stores()
	for _, s := range stores {
		if found || err != nil {
			break
		}
		if time < s.floor {
			continue
		}
		full := append(s.segment(time/s.interval), key...)
		value, timestamp, found, err = readRow(t.reader.from, t.name, full)
	}
	if !found && err == nil {
		err = t.reader.lacking
	}
	return value, timestamp, found, failed(t.name, "read", err)
}

// of calls yield for the rows of a key, or of all (nil), whose times are in [from, to], until it returns false. The
// slices may be kept.
func (t *timedRows) of(head []byte, from, to int64, yield func(timedRow) bool) error {
	from = max(from, 0)
	stores, err := t.stores()
	more := true
	for _, s := range stores {
		if !more || err != nil || to < from {
			break
		}
		if since := max(from, s.floor); since <= to {
			more, err = t.scan(s, head, since, to, yield)
		}
	}
	if more && err == nil {
		err = t.reader.lacking
	}
	return failed(t.name, "scan", err)
}

// scan yields the rows of one namespace; a head that is not nil is the bytes of the one key that is asked for.
func (t *timedRows) scan(
	s timedStore, head []byte, from, to int64, yield func(timedRow) bool,
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
			if in && !yield(r) {
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
func (t *timedRows) row(
	it engine.Iterator, key, head []byte, from, to int64,
) (r timedRow, in bool, err error) {
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
	row, err := it.Value()
	if err != nil {
		return r, false, err
	}
	r.key = bytes.Clone(key[:n])
	if r.timestamp, r.value, err = layout.Value(bytes.Clone(row)); err != nil {
		err = decodeError(t.name, "value", err)
	}
	return r, true, err
}
