package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
)

// SessionEntry is the value of one key in one session. Both ends belong to the session; its timestamp is its end.
type SessionEntry[K, V any] struct {
	Key        K
	Start, End int64
	Value      V
}

// SessionStore is a task's instance of a session store: values by key, start and end. It belongs to the goroutine that
// runs the task. The store expires nothing by itself: see Expire.
type SessionStore[K, V any] struct {
	*segments[V]
	keys  keyring[K]
	null  nullness[V]
	key   []byte
	found []SessionEntry[K, V]
	out   Flushed[K, V]
}

// sessionTail is the length of end and start behind a key, in the store as in the changelog of Kafka Streams.
const sessionTail = 16

func openSession[K, V any](tx *Tx, s Session[K, V]) (*SessionStore[K, V], error) {
	if m, ok := tx.byName[s.spec.Name]; ok {
		st, ok := m.(*SessionStore[K, V])
		if !ok {
			return nil, fmt.Errorf("store %q: opened with other types before", s.spec.Name)
		}
		return st, nil
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	st := &SessionStore[K, V]{
		segments: newSegments(tx.newRoom(s), s.codec.values, sessionTail, sessionTail, s.spec.Retention),
		keys:     newKeyring(s.codec.keys), null: newNullness[V](),
	}
	return st, tx.enroll(st)
}

func (st *SessionStore[K, V]) encode(key K, start, end int64) ([]byte, error) {
	b, err := st.keys.bytes(key)
	if err != nil {
		return nil, fmt.Errorf("store %q: encode key: %w", st.room.name, err)
	}
	st.key = appendSession(append(st.key[:0], b...), start, end)
	return st.key, nil
}

func appendSession(dst []byte, start, end int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(end)), uint64(start))
}

// splitSession returns what stands before a session's end and start, and these.
func splitSession(key []byte) (head []byte, start, end int64) {
	n := len(key) - sessionTail
	return key[:n:n], int64(binary.BigEndian.Uint64(key[n+8:])), int64(binary.BigEndian.Uint64(key[n:]))
}

// Expired tells whether sessions with that end were given up.
func (st *SessionStore[K, V]) Expired(end int64) bool { return end < st.floor }

// Expire gives up all sessions that end before a time. They are gone for readers at once, and leave memory and disk in
// whole segments. It is part of the transaction: Discard takes it back.
func (st *SessionStore[K, V]) Expire(before int64) { st.expire(before) }

// Get returns the value of one session.
func (st *SessionStore[K, V]) Get(key K, start, end int64) (value V, ok bool, err error) {
	seg := st.existing(end)
	if seg == nil {
		return value, false, nil
	}
	b, err := st.encode(key, start, end)
	if err != nil {
		return value, false, err
	}
	index, ok, err := seg.cells.lookup(b)
	if !ok {
		return value, false, err
	}
	value, _, ok, err = seg.cells.value(index)
	return value, ok, err
}

// Put sets the value of a session; a null value removes it. A session that was given up takes nothing.
func (st *SessionStore[K, V]) Put(key K, start, end int64, value V) error {
	if st.null.is(value) {
		return st.Remove(key, start, end)
	}
	seg, index, err := st.place(key, start, end)
	if err != nil {
		return ignoreExpired(err)
	}
	return seg.cells.set(index, value, end)
}

// Remove removes a session.
func (st *SessionStore[K, V]) Remove(key K, start, end int64) error {
	seg, index, err := st.place(key, start, end)
	if err != nil {
		return ignoreExpired(err)
	}
	seg.cells.remove(index, end)
	return nil
}

func (st *SessionStore[K, V]) place(key K, start, end int64) (*segment[V], uint32, error) {
	if start < 0 || end < start {
		return nil, 0, fmt.Errorf("store %q: session from %d to %d", st.room.name, start, end)
	}
	seg, err := st.at(end)
	if err != nil {
		return nil, 0, err
	}
	b, err := st.encode(key, start, end)
	if err != nil {
		return nil, 0, err
	}
	index, err := seg.cells.find(b)
	return seg, index, err
}

// Find returns a key's sessions that end at earliestEnd or later and start at latestStart or earlier, by end, then
// start. The slice is the store's, and valid until the next Find.
func (st *SessionStore[K, V]) Find(key K, earliestEnd, latestStart int64) ([]SessionEntry[K, V], error) {
	st.found = st.found[:0]
	head, err := st.keys.bytes(key)
	if err != nil {
		return nil, fmt.Errorf("store %q: encode key: %w", st.room.name, err)
	}
	from := max(earliestEnd, st.floor, 0)
	low, _ := st.position(from / st.interval)
	for _, seg := range st.live[low:] {
		before := len(st.found)
		if seg.cells.complete() {
			err = st.findHere(seg, key, head, from, latestStart)
		} else {
			err = st.findScanning(seg, key, head, from, latestStart)
		}
		if err != nil {
			return nil, err
		}
		if some := st.found[before:]; len(some) > 1 {
			slices.SortFunc(some, func(a, b SessionEntry[K, V]) int {
				switch {
				case a.End != b.End:
					return sign(a.End - b.End)
				default:
					return sign(a.Start - b.Start)
				}
			})
		}
	}
	return st.found, nil
}

// findHere walks the key's sessions in the table: a key has few in a segment.
func (st *SessionStore[K, V]) findHere(seg *segment[V], key K, head []byte, from, latestStart int64) (err error) {
	seg.cells.each(head, func(index uint32, b []byte) bool {
		_, start, end := splitSession(b)
		if end < from || start > latestStart {
			return true
		}
		value, _, ok, failed := seg.cells.value(index)
		if err = failed; ok {
			st.found = append(st.found, SessionEntry[K, V]{Key: key, Start: start, End: end, Value: value})
		}
		return err == nil
	})
	return err
}

func (st *SessionStore[K, V]) findScanning(seg *segment[V], key K, head []byte, from, latestStart int64) error {
	lower := appendSession(slices.Clone(head), 0, from)
	upper := append(appendSession(slices.Clone(head), math.MaxInt64, math.MaxInt64), 0)
	head = slices.Clone(head)
	var failed error
	err := seg.cells.scan(lower, upper, false, func(r row) bool {
		if len(r.key) != len(head)+sessionTail || !bytes.HasPrefix(r.key, head) {
			return true
		}
		_, start, end := splitSession(r.key)
		if start > latestStart {
			return true
		}
		value, _, err := seg.cells.rowValue(r)
		st.found = append(st.found, SessionEntry[K, V]{Key: key, Start: start, End: end, Value: value})
		failed = err
		return err == nil
	})
	if err == nil {
		err = failed
	}
	return err
}

// All yields the sessions that end in [from, to]: segment by segment, in a segment by the bytes of key, end and start.
func (st *SessionStore[K, V]) All(from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return st.ordered(from, to, false)
}

// ByEnd yields the sessions that end in [from, to], by end, then start, then the bytes of the key.
func (st *SessionStore[K, V]) ByEnd(from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return st.ordered(from, to, true)
}

func (st *SessionStore[K, V]) ordered(from, to int64, byEnd bool) iter.Seq2[SessionEntry[K, V], error] {
	return func(yield func(SessionEntry[K, V], error) bool) {
		from := max(from, st.floor, 0)
		st.between(from, to, false, func(seg *segment[V]) bool {
			var rows []row
			err := seg.cells.scan(nil, nil, false, func(r row) bool {
				if _, _, end := splitSession(r.key); end >= from && end <= to {
					rows = append(rows, r)
				}
				return true
			})
			if err != nil {
				yield(SessionEntry[K, V]{}, err)
				return false
			}
			if byEnd {
				slices.SortStableFunc(rows, func(a, b row) int {
					return bytes.Compare(a.key[len(a.key)-sessionTail:], b.key[len(b.key)-sessionTail:])
				})
			}
			st.room.scans++ // entries must stay
			defer func() { st.room.scans-- }()
			for _, r := range rows {
				e, err := st.entry(seg, r)
				if !yield(e, err) || err != nil {
					return false
				}
			}
			return true
		})
	}
}

func (st *SessionStore[K, V]) entry(seg *segment[V], r row) (e SessionEntry[K, V], err error) {
	var head []byte
	head, e.Start, e.End = splitSession(r.key)
	if e.Key, err = st.keys.key(head, !r.entry, &st.room.tx.stable); err != nil {
		return e, decodeError(st.room.name, "key", err)
	}
	if e.Value, _, err = seg.cells.rowValue(r); err != nil {
		err = decodeError(st.room.name, "value", err)
	}
	return e, err
}

// OnFlush makes the store emit on commit, as KVStore.OnFlush; Flushed.Start and End say which session.
func (st *SessionStore[K, V]) OnFlush(rank int, withOld bool, f func(*Flushed[K, V]) error) {
	st.room.tx.listen(st.room, rank)
	st.sender = func(seg *segment[V], index uint32) error {
		told, err := seg.cells.flushed(index, withOld)
		if err != nil || !told.hasOld && !told.hasNew {
			return err
		}
		view, stays := seg.cells.key(index)
		head, start, end := splitSession(view)
		key, err := st.keys.key(head, stays, &st.room.tx.stable)
		if err != nil {
			return decodeError(st.room.name, "key", err)
		}
		st.out = Flushed[K, V]{
			Key: key, Start: start, End: end, Old: told.old, New: told.new, HasOld: told.hasOld, HasNew: told.hasNew,
			Timestamp: told.timestamp,
		}
		return f(&st.out)
	}
}

func (st *SessionStore[K, V]) roomOf() *room { return st.room }

func (st *SessionStore[K, V]) restore(key, value []byte, timestamp int64) error {
	if len(key) < sessionTail {
		return fmt.Errorf("store %q: changelog key of %d bytes: want a key, 8 bytes of end, 8 of start", st.room.name,
			len(key))
	}
	_, _, end := splitSession(key)
	seg, err := st.at(end)
	if err != nil {
		return ignoreExpired(err)
	}
	return seg.cells.tier().restore(key, value, end)
}
