package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// WindowEntry is the value of one key in one window.
type WindowEntry[K, V any] struct {
	Key       K
	Start     int64 // of the window, milliseconds
	Value     V
	Timestamp int64
}

// WindowRef is the place of a key in a window: as Ref.
type WindowRef[V any] struct {
	seg   *segment[V]
	index uint32
}

// WindowStore is a task's instance of a window store: values by key and window start, which is never negative. It
// belongs to the goroutine that runs the task. The store expires nothing by itself: see Expire.
type WindowStore[K, V any] struct {
	*segments[V]
	keys keyring[K]
	null nullness[V]
	key  []byte
	out  Flushed[K, V]
}

// windowTail is the length of the start behind a key; windowSequence follows it in the changelog, as in Kafka Streams.
const windowTail = 8

var windowSequence = []byte{0, 0, 0, 0}

func openWindow[K, V any](tx *Tx, s Windowed[K, V]) (*WindowStore[K, V], error) {
	if m, ok := tx.byName[s.spec.Name]; ok {
		st, ok := m.(*WindowStore[K, V])
		if !ok {
			return nil, fmt.Errorf("store %q: opened with other types before", s.spec.Name)
		}
		return st, nil
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	st := &WindowStore[K, V]{
		segments: newSegments(tx.newRoom(s), s.codec.values, windowTail, 0, s.spec.Retention),
		keys:     newKeyring(s.codec.keys), null: newNullness[V](),
	}
	return st, tx.enroll(st)
}

// encode returns the bytes of key and start, valid until the next call.
func (st *WindowStore[K, V]) encode(key K, start int64) ([]byte, error) {
	b, err := st.keys.bytes(key)
	if err != nil {
		return nil, fmt.Errorf("store %q: encode key: %w", st.room.name, err)
	}
	st.key = binary.BigEndian.AppendUint64(append(st.key[:0], b...), uint64(start))
	return st.key, nil
}

// Expired tells whether a window was given up.
func (st *WindowStore[K, V]) Expired(start int64) bool { return start < st.floor }

// Expire gives up all windows that start before a time. They are gone for readers at once, and leave memory and disk in
// whole segments. It is part of the transaction: Discard takes it back.
func (st *WindowStore[K, V]) Expire(before int64) { st.expire(before) }

// Find is the fast path of aggregates: one hash and one probe find the key in the window or make its place. It returns
// ErrExpired for a window that was given up.
func (st *WindowStore[K, V]) Find(key K, start int64) (WindowRef[V], error) {
	seg, err := st.at(start)
	if err != nil {
		return WindowRef[V]{}, err
	}
	b, err := st.encode(key, start)
	if err != nil {
		return WindowRef[V]{}, err
	}
	seg.note(start)
	index, err := seg.cells.find(b)
	return WindowRef[V]{seg, index}, err
}

// Value returns what stands at the place.
func (st *WindowStore[K, V]) Value(r WindowRef[V]) (value V, timestamp int64, ok bool, err error) {
	return r.seg.cells.value(r.index)
}

// Set sets the value at the place; a null value removes it.
func (st *WindowStore[K, V]) Set(r WindowRef[V], value V, timestamp int64) error {
	if st.null.is(value) {
		return st.Remove(r, timestamp)
	}
	return r.seg.cells.set(r.index, value, timestamp)
}

// Remove deletes the key at the place.
func (st *WindowStore[K, V]) Remove(r WindowRef[V], timestamp int64) error {
	r.seg.cells.remove(r.index, timestamp)
	return nil
}

// Get returns the value of key in the window that begins at start.
func (st *WindowStore[K, V]) Get(key K, start int64) (value V, timestamp int64, ok bool, err error) {
	seg := st.existing(start)
	if seg == nil {
		return value, 0, false, nil
	}
	b, err := st.encode(key, start)
	if err != nil {
		return value, 0, false, err
	}
	index, ok, err := seg.cells.lookup(b)
	if !ok {
		return value, 0, false, err
	}
	return seg.cells.value(index)
}

// Put sets the value of key in a window; a null value deletes it. A window that was given up takes nothing.
func (st *WindowStore[K, V]) Put(key K, start int64, value V, timestamp int64) error {
	r, err := st.Find(key, start)
	if err != nil {
		return ignoreExpired(err)
	}
	return st.Set(r, value, timestamp)
}

// Delete removes key from a window.
func (st *WindowStore[K, V]) Delete(key K, start, timestamp int64) error {
	r, err := st.Find(key, start)
	if err != nil {
		return ignoreExpired(err)
	}
	return st.Remove(r, timestamp)
}

func ignoreExpired(err error) error {
	if errors.Is(err, ErrExpired) {
		return nil
	}
	return err
}

// Fetch yields a key's windows that start in [from, to], ascending.
func (st *WindowStore[K, V]) Fetch(key K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return st.fetch(key, from, to, false)
}

// FetchReverse is Fetch in descending order.
func (st *WindowStore[K, V]) FetchReverse(key K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return st.fetch(key, from, to, true)
}

func (st *WindowStore[K, V]) fetch(key K, from, to int64, reverse bool) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		head, err := st.keys.serde.Append(nil, key)
		if err != nil {
			yield(WindowEntry[K, V]{}, fmt.Errorf("store %q: encode key: %w", st.room.name, err))
			return
		}
		from := max(from, st.floor, 0)
		e := WindowEntry[K, V]{Key: key}
		st.between(from, to, reverse, func(seg *segment[V]) bool {
			if !seg.manyTimes {
				return st.fetchProbing(seg, &e, head, from, to, reverse, yield)
			}
			lower := binary.BigEndian.AppendUint64(slices.Clone(head), uint64(from))
			upper := append(binary.BigEndian.AppendUint64(slices.Clone(head), uint64(to)), 0)
			more := true
			err := seg.cells.scan(lower, upper, reverse, func(r row) bool {
				if len(r.key) != len(head)+windowTail || !bytes.HasPrefix(r.key, head) {
					return true
				}
				e.Start = int64(binary.BigEndian.Uint64(r.key[len(head):]))
				var err error
				e.Value, e.Timestamp, err = seg.cells.rowValue(r)
				more = yield(e, err) && err == nil
				return more
			})
			if err != nil {
				yield(WindowEntry[K, V]{}, err)
			}
			return more && err == nil
		})
	}
}

// fetchProbing asks for the few windows that a segment has, one by one.
func (st *WindowStore[K, V]) fetchProbing(
	seg *segment[V], e *WindowEntry[K, V], head []byte, from, to int64, reverse bool,
	yield func(WindowEntry[K, V], error) bool,
) bool {
	times := slices.Clone(seg.times)
	if reverse {
		slices.Reverse(times)
	}
	for _, start := range times {
		if start < from || start > to {
			continue
		}
		st.key = binary.BigEndian.AppendUint64(append(st.key[:0], head...), uint64(start))
		index, found, err := seg.cells.lookup(st.key)
		if err == nil && found {
			e.Start = start
			if e.Value, e.Timestamp, found, err = seg.cells.value(index); !found && err == nil {
				continue
			}
		} else if err == nil {
			continue
		}
		if !yield(*e, err) || err != nil {
			return false
		}
	}
	return true
}

// All yields everything that is not given up whose window starts in [from, to]: segment by segment, in a segment by
// the bytes of key and start.
func (st *WindowStore[K, V]) All(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return st.all(from, to, false)
}

// AllReverse is All in descending order.
func (st *WindowStore[K, V]) AllReverse(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return st.all(from, to, true)
}

func (st *WindowStore[K, V]) all(from, to int64, reverse bool) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		from := max(from, st.floor, 0)
		st.between(from, to, reverse, func(seg *segment[V]) bool {
			more := true
			err := seg.cells.scan(nil, nil, reverse, func(r row) bool {
				start := int64(binary.BigEndian.Uint64(r.key[len(r.key)-windowTail:]))
				if start < from || start > to {
					return true
				}
				e, err := st.entry(seg, r, start)
				more = yield(e, err) && err == nil
				return more
			})
			if err != nil {
				yield(WindowEntry[K, V]{}, err)
			}
			return more && err == nil
		})
	}
}

func (st *WindowStore[K, V]) entry(seg *segment[V], r row, start int64) (e WindowEntry[K, V], err error) {
	e.Start = start
	view := r.key[:len(r.key)-windowTail]
	if e.Key, err = st.keys.key(view, !r.entry, &st.room.tx.stable); err != nil {
		return e, decodeError(st.room.name, "key", err)
	}
	if e.Value, e.Timestamp, err = seg.cells.rowValue(r); err != nil {
		err = decodeError(st.room.name, "value", err)
	}
	return e, err
}

// ByTime yields everything whose window starts in [from, to], by start, then by the bytes of the key.
func (st *WindowStore[K, V]) ByTime(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		from := max(from, st.floor, 0)
		st.between(from, to, false, func(seg *segment[V]) bool {
			if !seg.manyTimes && !slices.ContainsFunc(seg.times, func(t int64) bool { return t >= from && t <= to }) {
				return true
			}
			found, err := sortedByTime(seg, from, to)
			if err != nil {
				yield(WindowEntry[K, V]{}, err)
				return false
			}
			st.room.scans++ // entries must stay
			defer func() { st.room.scans-- }()
			for _, t := range found {
				e, err := st.entry(seg, t.row, t.when)
				if !yield(e, err) || err != nil {
					return false
				}
			}
			return true
		})
	}
}

// timed is a row with the time that its key ends in.
type timed struct {
	row
	when int64
}

// sortedByTime gathers the rows of a segment that lie in [from, to], by time; rows of a time stay in the order of
// their keys.
func sortedByTime[V any](seg *segment[V], from, to int64) ([]timed, error) {
	var found []timed
	err := seg.cells.scan(nil, nil, false, func(r row) bool {
		when := int64(binary.BigEndian.Uint64(r.key[len(r.key)-windowTail:]))
		if when >= from && when <= to {
			found = append(found, timed{r, when})
		}
		return true
	})
	slices.SortStableFunc(found, func(a, b timed) int {
		switch {
		case a.when < b.when:
			return -1
		case a.when > b.when:
			return 1
		default:
			return 0
		}
	})
	return found, err
}

// OnFlush makes the store emit on commit, as KVStore.OnFlush; Flushed.Start says which window.
func (st *WindowStore[K, V]) OnFlush(rank int, withOld bool, f func(*Flushed[K, V]) error) {
	st.room.tx.listen(st.room, rank)
	st.sender = func(seg *segment[V], index uint32) error {
		told, err := seg.cells.flushed(index, withOld)
		if err != nil || !told.hasOld && !told.hasNew {
			return err
		}
		view, stays := seg.cells.key(index)
		n := len(view) - windowTail
		start := int64(binary.BigEndian.Uint64(view[n:]))
		key, err := st.keys.key(view[:n:n], stays, &st.room.tx.stable)
		if err != nil {
			return decodeError(st.room.name, "key", err)
		}
		st.out = Flushed[K, V]{
			Key: key, Start: start, Old: told.old, New: told.new, HasOld: told.hasOld, HasNew: told.hasNew,
			Timestamp: told.timestamp,
		}
		return f(&st.out)
	}
}

func (st *WindowStore[K, V]) roomOf() *room { return st.room }

func (st *WindowStore[K, V]) restore(key, value []byte, timestamp int64) error {
	n := len(key) - windowTail - len(windowSequence)
	if n < 0 {
		return fmt.Errorf("store %q: changelog key of %d bytes: want a key, 8 bytes of start, 4 of sequence",
			st.room.name, len(key))
	}
	start := int64(binary.BigEndian.Uint64(key[n:]))
	seg, err := st.at(start)
	if err != nil {
		return ignoreExpired(err)
	}
	seg.note(start)
	return seg.cells.tier().restore(key[:n+windowTail], value, timestamp)
}
