package state

import (
	"slices"

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
// newest to the oldest. Discard takes the newest rows off again. Everything that is not given up lives in memory; the
// engine has a copy for the next start.
type BufferStore[K, V any] struct {
	buffers *buffers
	keys    keyring[K]
	values  serde.Serde[V]
	nilable bool
	found   []BufferEntry[V]
}

func openBuffer[K, V any](tx *Tx, n name) (*BufferStore[K, V], error) {
	if st, found, err := reopen[*BufferStore[K, V]](tx, n.Name()); found {
		return st, err
	}
	r, err := tx.newRoom(n)
	if err != nil {
		return nil, err
	}
	c := codecOf[K, V](n)
	st := &BufferStore[K, V]{
		buffers: newBuffers(r, n.made.Retention), keys: newKeyring(c.keys),
		values: serde.Local(c.values), nilable: serde.IsNilable[V](),
	}
	return st, tx.enroll(st.buffers, st)
}

// Expired tells whether records of that time were given up.
func (st *BufferStore[K, V]) Expired[E BufferEntry[V]](timestamp int64) bool {
	return timestamp < st.buffers.floor
}

// Expire gives up all records older than before. They are gone for readers at once, and leave memory and disk in whole
// segments. It is part of the transaction: Discard takes it back.
func (st *BufferStore[K, V]) Expire[E BufferEntry[V]](before int64) { st.buffers.expire(before) }

// Records is how many records the store has in memory: those that were given up among them, until their segment goes.
func (st *BufferStore[K, V]) Records[E BufferEntry[V]]() (n int) {
	for _, t := range st.buffers.live {
		n += int(t.buffer.count)
	}
	return n
}

// Add buffers a record. A null value and a time that was given up are ignored.
func (st *BufferStore[K, V]) Add[E BufferEntry[V]](key K, value V, timestamp int64) error {
	if isNull(st.nilable, value) {
		return nil
	}
	encoded, err := st.values.Append(st.buffers.encoded[:0], value)
	if err != nil {
		return st.buffers.room.valueError(nil, err)
	}
	st.buffers.encoded = encoded
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return keyError(st.buffers.room, err)
	}
	return ignoreExpired(st.buffers.add(b, encoded, timestamp))
}

// Fetch returns the records of key with timestamps in [from, to], by timestamp, those of one time in the order of
// arrival. The slice is the store's, and valid until the next Fetch.
func (st *BufferStore[K, V]) Fetch[E BufferEntry[V]](key K, from, to int64) ([]BufferEntry[V], error) {
	clear(st.found)
	st.found = st.found[:0]
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return nil, keyError(st.buffers.room, err)
	}
	from = max(from, st.buffers.floor)
	hash := st.buffers.room.hash(b)
	for _, t := range st.buffers.window(from, to) {
		seg := t.buffer
		st.buffers.chain = seg.chain(st.buffers.chain[:0], hash, b, from, to)
		for _, c := range st.buffers.chain {
			value, err := st.values.Decode(seg.bytes.view(c.place))
			if err != nil {
				return nil, decodeError(st.buffers.room.name, "value", err)
			}
			st.found = append(st.found, BufferEntry[V]{Value: value, Timestamp: c.timestamp})
		}
	}
	return st.found, nil
}

// TouchAdd reads the cache lines that adding records with these encoded keys and about that time will need, so that
// their misses overlap: call it for some 64 keys before they are added. It changes nothing.
func (st *BufferStore[K, V]) TouchAdd[E BufferEntry[V]](keys [][]byte, timestamp int64) {
	st.buffers.touch(keys, timestamp, timestamp, false)
}

// TouchFetch is TouchAdd for a Fetch of each key.
func (st *BufferStore[K, V]) TouchFetch[E BufferEntry[V]](keys [][]byte, from, to int64) {
	st.buffers.touch(keys, from, to, true)
}

// chained is a row found for a key.
type chained struct {
	place
	timestamp int64
}

// chain appends the key's rows in [from, to], by time, then arrival.
func (g *bufferSegment) chain(dst []chained, hash uint64, key []byte, from, to int64) []chained {
	index, found := g.heads.Find(hash, key)
	if !found {
		return dst
	}
	sorted := true
	for at := *g.newest(index); at != 0; {
		r := g.row(at - 1)
		if r.highest() < from {
			break
		}
		if r.timestamp >= from && r.timestamp <= to {
			if n := len(dst); n > 0 && dst[n-1].timestamp < r.timestamp {
				sorted = false
			}
			dst = append(dst, chained{r.place, r.timestamp})
		}
		at = r.previous
	}
	slices.Reverse(dst)
	if !sorted {
		slices.SortStableFunc(dst, func(a, b chained) int { return sign(a.timestamp - b.timestamp) })
	}
	return dst
}
