package state

import (
	"math"

	"thalweg/serde"
)

// VersionedStore is a task's instance of a versioned store: for each key the values of the past, back to the history
// before the newest timestamp that the store has seen. It belongs to the goroutine that runs the task.
//
// All versions of a key are one row, so it is meant for keys with some dozens of versions within the history. Each
// put is a changelog record, as in Kafka Streams: plain key and value, the record's timestamp is the version's.
type VersionedStore[K, V any] struct {
	histories *histories
	keys      keyCodec[K]
	values    serde.Serde[V]
	nilable   bool
}

// Latest asks for the newest version.
const Latest int64 = math.MaxInt64

func openVersioned[K, V any](tx *Tx, n name) (*VersionedStore[K, V], error) {
	if st, found, err := reopen[*VersionedStore[K, V]](tx, n.Name()); found {
		return st, err
	}
	r, err := tx.newStoreBase(n)
	if err != nil {
		return nil, err
	}
	c := codecOf[K, V](n)
	st := &VersionedStore[K, V]{
		histories: newHistories(r, n.made.Retention), keys: newKeyCodec(c.keys),
		values: serde.Local(c.values), nilable: serde.IsNilable[V](),
	}
	return st, tx.enroll(st.histories, st)
}

// Get returns the newest value of key with its timestamp.
func (st *VersionedStore[K, V]) Get[E Version[V]](key K) (value V, timestamp int64, ok bool, err error) {
	return st.GetAsOf(key, Latest)
}

// GetAsOf returns the value that key had at a time. A time before the history has no value, but where the newest
// value is that old.
func (st *VersionedStore[K, V]) GetAsOf[E Version[V]](
	key K, asOf int64,
) (value V, timestamp int64, ok bool, err error) {
	v, _, err := st.Version(key, asOf)
	return v.Value, v.From, v.Exists, err
}

// Earliest returns the earliest value of key with a timestamp in [from, to]. Tombstones are no values.
func (st *VersionedStore[K, V]) Earliest[E Version[V]](
	key K, from, to int64,
) (value V, timestamp int64, ok bool, err error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return value, 0, false, keyError(st.histories.base, err)
	}
	v, ok, err := st.histories.earliest(b, from, to)
	if !ok {
		return value, 0, false, err
	}
	if value, err = st.values.Decode(v.value); err != nil {
		return value, 0, false, decodeError(st.histories.base.name, "value", err)
	}
	return value, v.timestamp, true, nil
}

// Version is a value, or the absence of one, with the time for which it held.
type Version[V any] struct {
	Value  V
	Exists bool // false for a tombstone
	From   int64
	To     int64 // when the next version began, or Latest
}

// Version returns the version of key that held at a time, also where it is a tombstone.
func (st *VersionedStore[K, V]) Version[E Version[V]](key K, asOf int64) (version Version[V], found bool, err error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return version, false, keyError(st.histories.base, err)
	}
	v, to, found, err := st.histories.version(b, asOf)
	if !found {
		return version, false, err
	}
	version = Version[V]{From: v.timestamp, To: to, Exists: v.value != nil}
	if version.Exists {
		if version.Value, err = st.values.Decode(v.value); err != nil {
			return Version[V]{}, false, decodeError(st.histories.base.name, "value", err)
		}
	}
	return version, true, nil
}

// Prefetcher prepares look-ups of keys before they are made.
func (st *VersionedStore[K, V]) Prefetcher[E Version[V]]() func() Prefetcher {
	return st.histories.rows.prefetcher(true)
}

// Put adds a version; a null value is a tombstone. A timestamp older than the history is not accepted. latest tells
// that it is the newest version.
func (st *VersionedStore[K, V]) Put[E Version[V]](key K, value V, timestamp int64) (latest, accepted bool, err error) {
	if isNull(st.nilable, value) {
		return st.Delete(key, timestamp)
	}
	encoded, err := st.values.Append(st.histories.scratch[:0], value)
	if err != nil {
		return false, false, st.histories.base.valueError(nil, err)
	}
	st.histories.scratch = encoded
	return putVersion(st, key, notNil(encoded), timestamp)
}

// Delete adds a tombstone, as Put.
func (st *VersionedStore[K, V]) Delete[E Version[V]](key K, timestamp int64) (latest, accepted bool, err error) {
	return putVersion(st, key, nil, timestamp)
}

func putVersion[K, V any](
	st *VersionedStore[K, V], key K, value []byte, timestamp int64,
) (latest, accepted bool, err error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return false, false, keyError(st.histories.base, err)
	}
	return st.histories.put(b, value, timestamp)
}
