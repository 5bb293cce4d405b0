package state

import (
	"fmt"
	"math"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// VersionedStore is a task's instance of a versioned store: for each key the values of the past, back to the history
// before the newest timestamp that the store has seen. It belongs to the goroutine that runs the task.
//
// All versions of a key are one row, so it is meant for keys with some dozens of versions within the history. Each
// put is a changelog record, as in Kafka Streams: plain key and value, the record's timestamp is the version's.
type VersionedStore[K, V any] struct {
	room   *room
	cells  cells[history]
	keys   keyring[K]
	values serde.Serde[V]
	null   nullness[V]

	retained   int64 // milliseconds
	streamTime [3]int64
	savedTime  int64

	diary   []diaryEntry // puts since the last drain
	bytes   []byte       // their keys and values
	scratch []byte
}

// The stream time now, as of the last drain, and as of the last commit.
const (
	timeNow = iota
	timeDrained
	timeCommitted
)

// diaryEntry is a changelog record to write: [key][value] in the store's bytes; size -1 is a tombstone.
type diaryEntry struct {
	from, keySize, size int
	timestamp           int64
}

// Latest asks for the newest version.
const Latest int64 = math.MaxInt64

func openVersioned[K, V any](tx *Tx, s Versioned[K, V]) (*VersionedStore[K, V], error) {
	if m, ok := tx.byName[s.spec.Name]; ok {
		st, ok := m.(*VersionedStore[K, V])
		if !ok {
			return nil, fmt.Errorf("store %q: opened with other types before", s.spec.Name)
		}
		return st, nil
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	r := tx.newRoom(s)
	r.silent = true // the diary is the changelog
	st := &VersionedStore[K, V]{
		room: r, keys: newKeyring(s.codec.keys), values: serde.Local(s.codec.values), null: newNullness[V](),
		retained:   s.spec.Retention.Milliseconds(),
		streamTime: [3]int64{-1, -1, -1}, savedTime: -1,
	}
	prefix := append(append([]byte(nil), r.prefix...), layout.KindKey)
	st.cells = newCells[history](r, prefix, 0, histories{}, false)
	return st, tx.enroll(st)
}

// Get returns the newest value of key with its timestamp.
func (st *VersionedStore[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	return st.GetAsOf(key, Latest)
}

// GetAsOf returns the value that key had at a time. A time before the history has no value, but where the newest
// value is that old.
func (st *VersionedStore[K, V]) GetAsOf(key K, asOf int64) (value V, timestamp int64, ok bool, err error) {
	v, _, err := st.Version(key, asOf)
	return v.Value, v.From, v.Exists, err
}

// Version is a value, or the absence of one, with the time for which it held.
type Version[V any] struct {
	Value  V
	Exists bool // false for a tombstone
	From   int64
	To     int64 // when the next version began, or Latest
}

// Version returns the version of key that held at a time, also where it is a tombstone.
func (st *VersionedStore[K, V]) Version(key K, asOf int64) (version Version[V], found bool, err error) {
	b, err := st.keys.bytes(key)
	if err != nil {
		return version, false, st.fail("encode key", err)
	}
	index, found, err := st.cells.lookup(b)
	if !found {
		return version, false, err
	}
	h, _, found, err := st.cells.value(index)
	if !found {
		return version, false, err
	}
	at, _ := h.position(asOf)
	if at == len(h.versions) || at > 0 && asOf < st.horizon() {
		return version, false, nil
	}
	v := h.versions[at]
	version = Version[V]{From: v.timestamp, To: Latest, Exists: v.value != nil}
	if at > 0 {
		version.To = h.versions[at-1].timestamp
	}
	if version.Exists {
		if version.Value, err = st.values.Decode(v.value); err != nil {
			return Version[V]{}, false, decodeError(st.room.name, "value", err)
		}
	}
	return version, true, nil
}

func (st *VersionedStore[K, V]) horizon() int64 {
	if st.streamTime[timeNow] < 0 {
		return math.MinInt64
	}
	return st.streamTime[timeNow] - st.retained
}

// Put adds a version; a null value is a tombstone. A timestamp older than the history is not accepted. latest tells
// that it is the newest version.
func (st *VersionedStore[K, V]) Put(key K, value V, timestamp int64) (latest, accepted bool, err error) {
	if st.null.is(value) {
		return st.Delete(key, timestamp)
	}
	encoded, err := st.values.Append(st.scratch[:0], value)
	if err != nil {
		return false, false, st.fail("encode value", err)
	}
	st.scratch = encoded
	return st.put(key, notNil(encoded), timestamp)
}

// Delete adds a tombstone, as Put.
func (st *VersionedStore[K, V]) Delete(key K, timestamp int64) (latest, accepted bool, err error) {
	return st.put(key, nil, timestamp)
}

func (st *VersionedStore[K, V]) put(key K, value []byte, timestamp int64) (latest, accepted bool, err error) {
	if timestamp < st.horizon() {
		return false, false, nil
	}
	b, err := st.keys.bytes(key)
	if err != nil {
		return false, false, st.fail("encode key", err)
	}
	latest, stored, err := st.write(b, value, timestamp)
	if err != nil {
		return false, false, err
	}
	if st.room.logged {
		e := diaryEntry{from: len(st.bytes), keySize: len(b), size: len(value), timestamp: timestamp}
		st.bytes = append(append(st.bytes, b...), value...)
		if value == nil {
			e.size = -1
		}
		st.diary = append(st.diary, e)
	}
	return latest, stored, nil
}

// write changes the key's history.
func (st *VersionedStore[K, V]) write(key, value []byte, timestamp int64) (latest, stored bool, err error) {
	index, err := st.cells.find(key)
	if err != nil {
		return false, false, err
	}
	h, _, _, err := st.cells.value(index)
	if err != nil {
		return false, false, err
	}
	if value != nil {
		value = st.room.tx.stable.copy(value)
		value = notNil(value)
	}
	latest = h.put(timestamp, value)
	st.streamTime[timeNow] = max(st.streamTime[timeNow], timestamp)
	if !h.trim(st.horizon()) {
		st.cells.remove(index, timestamp)
		return latest, true, nil
	}
	return latest, true, st.cells.set(index, h, h.versions[0].timestamp)
}

func (st *VersionedStore[K, V]) fail(what string, err error) error {
	return fmt.Errorf("store %q: %s: %w", st.room.name, what, err)
}

func (st *VersionedStore[K, V]) roomOf() *room { return st.room }

func (st *VersionedStore[K, V]) tiers(yield func(tier) bool) { yield(st.cells.tier()) }

func (st *VersionedStore[K, V]) restore(key, value []byte, timestamp int64) error {
	if timestamp < st.horizon() {
		return nil
	}
	_, _, err := st.write(key, value, timestamp)
	return err
}

// restored takes what restore wrote as committed: histories are read before they are written, so they go through the
// lists of a change.
func (st *VersionedStore[K, V]) restored() error {
	if err := st.cells.sealAll(); err != nil {
		return err
	}
	st.seal()
	st.cells.tier().commit()
	st.settle()
	return nil
}

func (st *VersionedStore[K, V]) begin(e engine.Engine) error {
	rows := append(append([]byte(nil), st.room.prefix...), layout.KindKey)
	empty, err := emptyRange(e, rows)
	if err != nil {
		return err
	}
	st.cells.startComplete(empty)
	value, found, err := e.Get(nil, append(append([]byte(nil), st.room.prefix...), layout.KindSegments))
	if err != nil || !found {
		return err
	}
	at, err := layout.Position(value)
	st.streamTime, st.savedTime = [3]int64{at, at, at}, at
	return err
}

// drainDiary writes one record for each put.
func (st *VersionedStore[K, V]) drainDiary(emit func(Store, []byte, []byte, int64) error) error {
	for _, e := range st.diary {
		key := st.bytes[e.from : e.from+e.keySize]
		var value []byte
		if e.size >= 0 {
			value = st.bytes[e.from+e.keySize : e.from+e.keySize+e.size]
		}
		if err := emit(st.room.store, key, value, e.timestamp); err != nil {
			return err
		}
	}
	return nil
}

func (st *VersionedStore[K, V]) seal() {
	st.diary, st.bytes = st.diary[:0], st.bytes[:0]
	st.streamTime[timeDrained] = st.streamTime[timeNow]
}

func (st *VersionedStore[K, V]) settle() { st.streamTime[timeCommitted] = st.streamTime[timeDrained] }

func (st *VersionedStore[K, V]) revive() {
	st.diary, st.bytes = st.diary[:0], st.bytes[:0]
	st.streamTime[timeDrained] = st.streamTime[timeCommitted]
	st.streamTime[timeNow] = st.streamTime[timeCommitted]
}

func (st *VersionedStore[K, V]) doomed() bool { return st.streamTime[timeCommitted] != st.savedTime }

func (st *VersionedStore[K, V]) prune(b engine.Batch) error {
	key := append(append([]byte(nil), st.room.prefix...), layout.KindSegments)
	return b.Set(key, layout.AppendPosition(nil, st.streamTime[timeCommitted]))
}

func (st *VersionedStore[K, V]) pruned() { st.savedTime = st.streamTime[timeCommitted] }

func (st *VersionedStore[K, V]) wiped() {
	st.diary, st.bytes = nil, nil
	st.streamTime, st.savedTime = [3]int64{-1, -1, -1}, -1
}
