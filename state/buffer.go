package state

import (
	"reflect"

	"thalweg/serde"
)

// BufferEntry is one buffered record.
type BufferEntry[V any] struct {
	Value     V
	Timestamp int64
}

// BufferStore is a task's instance of a join buffer: records by key and time, where equal ones are kept apart, read
// again for a while and then given up in whole segments. It belongs to the goroutine that runs the task.
//
// Records are only added, so all of it is logs: a segment's rows in the order of arrival, chained by key from the
// newest to the oldest. Discard takes the newest rows off again. What the memory has no room for is in the engine
// alone: see coldRows.
type BufferStore[K, V any] struct {
	log     *segmentedLog
	keys    keyCodec[K]
	values  serde.Serde[V]
	nilable bool
	found   []BufferEntry[V]

	// Decoded values, each at the index that its row has, as long as that row is its owner: see bufferObjects.
	objects []V
	owners  []*logRow // nil: decoding costs nothing
}

func openBuffer[K, V any](tx *Tx, n name) (*BufferStore[K, V], error) {
	if st, found, err := reopen[*BufferStore[K, V]](tx, n.Name()); found {
		return st, err
	}
	r, err := tx.newStoreBase(n)
	if err != nil {
		return nil, err
	}
	c := codecOf[K, V](n)
	st := &BufferStore[K, V]{
		log: newSegmentedLog(r, n.made.Retention), keys: newKeyCodec(c.keys),
		values: serde.Local(c.values), nilable: serde.IsNilable[V](),
	}
	if !decodesFreely(reflect.TypeFor[V](), st.values) {
		st.owners = []*logRow{}
	}
	st.log.objects.size = int64(reflect.TypeFor[V]().Size())
	st.log.forget = func() {
		clear(st.objects)
		clear(st.owners)
		st.objects, st.owners = st.objects[:0], st.owners[:0]
	}
	return st, tx.enroll(st.log, st)
}

// KeepUntilExpired leaves it to Expire which records are given up. An operator that must report them first calls it
// before anything is written.
func (st *BufferStore[K, V]) KeepUntilExpired[E BufferEntry[V]]() { st.log.keepUntilExpired() }

// Expire gives up all records older than before. They are gone for readers at once, and leave memory and disk in whole
// segments. It is part of the transaction: Discard takes it back.
func (st *BufferStore[K, V]) Expire[E BufferEntry[V]](before int64) { st.log.expire(before) }

// Records is how many records the store has: those that were given up among them, until their segment goes.
func (st *BufferStore[K, V]) Records[E BufferEntry[V]]() int { return int(st.log.records()) }

// Add buffers a record. A null value and a time that was given up are ignored.
func (st *BufferStore[K, V]) Add[E BufferEntry[V]](key K, value V, timestamp int64) error {
	if isNull(st.nilable, value) {
		return nil
	}
	encoded, err := st.values.Append(st.log.encoded[:0], value)
	if err != nil {
		return st.log.base.valueError(nil, err)
	}
	st.log.encoded = encoded
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return keyError(st.log.base, err)
	}
	return ignoreExpired(st.log.add(b, encoded, timestamp))
}

// Fetch returns the records of key with timestamps in [from, to], by timestamp, those of one time in the order of
// arrival. The slice is the store's, and valid until the next Fetch.
func (st *BufferStore[K, V]) Fetch[E BufferEntry[V]](key K, from, to int64) ([]BufferEntry[V], error) {
	clear(st.found)
	st.found = st.found[:0]
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return nil, keyError(st.log.base, err)
	}
	found, err := st.log.fetch(b, from, to)
	if err != nil {
		return nil, err
	}
	for i := range found {
		value, err := st.value(&found[i])
		if err != nil {
			return nil, decodeError(st.log.base.name, "value", err)
		}
		st.found = append(st.found, BufferEntry[V]{Value: value, Timestamp: found[i].timestamp})
	}
	return st.found, nil
}

// value decodes the value of a row, unless that was done before.
func (st *BufferStore[K, V]) value(c *chained) (V, error) {
	if c.row == nil || st.owners == nil {
		return st.values.Decode(c.value)
	}
	if at := int(c.row.object) - 1; at >= 0 && at < len(st.owners) && st.owners[at] == c.row {
		return st.objects[at], nil
	}
	value, err := st.values.Decode(c.value)
	if err != nil {
		return value, err
	}
	at := st.log.placeObject()
	if at == len(st.objects) {
		st.objects, st.owners = append(st.objects, value), append(st.owners, c.row)
	} else {
		st.objects[at], st.owners[at] = value, c.row
	}
	c.row.object = uint32(at + 1)
	return value, nil
}

// Has tells whether a key has a record with a timestamp in [from, to].
func (st *BufferStore[K, V]) Has[E BufferEntry[V]](key K, from, to int64) (bool, error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return false, keyError(st.log.base, err)
	}
	return st.log.has(b, from, to)
}

// TouchAdd reads the cache lines that adding records with these encoded keys and about that time will need, so that
// their misses overlap: call it for some 64 keys before they are added. It changes nothing.
func (st *BufferStore[K, V]) TouchAdd[E BufferEntry[V]](keys [][]byte, timestamp int64) {
	st.log.touch(keys, timestamp, timestamp, false)
}

// TouchFetch is TouchAdd for a Fetch of each key.
func (st *BufferStore[K, V]) TouchFetch[E BufferEntry[V]](keys [][]byte, from, to int64) {
	st.log.touch(keys, from, to, true)
}
