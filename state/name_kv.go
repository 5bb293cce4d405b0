package state

import (
	"time"

	"thalweg/serde"
)

// NewKV names a key-value store. Serdes are found by type (serde.For) and set with Keys and Values.
func NewKV[K, V any](name string) KV[K, V] {
	return KV[K, V]{newName(Spec{Name: name, Kind: KindKeyValue}, serde.For[K](), serde.For[V](), prepareKV[K, V])}
}

// NewSuppressed names the buffer of a suppression: a key-value store whose changelog records say in which form their
// values are, as Kafka Streams wants it.
func NewSuppressed[K, V any](name string) KV[K, V] {
	return KV[K, V]{newName(Spec{Name: name, Kind: KindSuppress}, serde.For[K](), serde.For[V](), prepareKV[K, V])}
}

// KV names a key-value store with timestamps. Equal names are the same store.
type KV[K, V any] struct{ name }

// Keys sets the serde of keys.
func (s KV[K, V]) Keys[S serde.Serde[K]](keys S) KV[K, V] {
	return KV[K, V]{withSerdes(s.name, keys, nil)}
}

// Values sets the serde of values.
func (s KV[K, V]) Values[S serde.Serde[V]](values S) KV[K, V] {
	return KV[K, V]{withSerdes(s.name, nil, values)}
}

// Inherit gives the store the serdes of the records of which it is made, where it has none of its own and they are of
// its types: operators use it.
func (s KV[K, V]) Inherit[S KV[K, V]](keys, values any) KV[K, V] {
	return KV[K, V]{inherit(s.name, keys, values)}
}

// KeySerde returns the serde of keys.
func (s KV[K, V]) KeySerde[S KV[K, V]]() serde.Serde[K] { return codecOf[K, V](s.name).keys }

// ValueSerde returns the serde of values.
func (s KV[K, V]) ValueSerde[S KV[K, V]]() serde.Serde[V] { return codecOf[K, V](s.name).values }

// Volatile leaves the changelog out. A crash loses all rows that were not written to the disk, which may be every
// row: the engine has no log, and writes when a buffer is full and every ten minutes. A task that moves to another
// machine leaves all rows behind. Committed offsets stay, so lost rows are not built again. A start that finds no rows
// though offsets are committed logs a warning; it cannot see that a part is missing.
func (s KV[K, V]) Volatile[S KV[K, V]]() KV[K, V] { return KV[K, V]{with(s.name, volatile, 0)} }

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s KV[K, V]) InMemory[S KV[K, V]]() KV[K, V] { return KV[K, V]{with(s.name, inMemory, 0)} }

// Topic adds configurations of the changelog topic to the defaults. One under which the changelog would lose what the
// store needs is refused.
func (s KV[K, V]) Topic[M ~map[string]string](config M) KV[K, V] {
	return KV[K, V]{withTopic(s.name, config)}
}

// TTL deletes a key when it was not changed for d, by the time of the records that the store's table or aggregation
// sees, and emits the deletion as any other. Records that are so old already are left out, counted as expired.
// The keys that expire next are in memory, up to 131,072 of them, and all rows are read when a task starts. What a
// processor keeps lives as long as the processor says.
func (s KV[K, V]) TTL[D time.Duration](d D) KV[K, V] {
	return KV[K, V]{with(s.name, ttl, time.Duration(d))}
}

// Open returns the task's instance: the same one each time.
func (s KV[K, V]) Open[H Host](h H) (*KVStore[K, V], error) {
	tx, err := h.Tx(s.Name())
	if err != nil {
		return nil, err
	}
	return openKV[K, V](tx, s.name)
}

func prepareKV[K, V any](n name, tx *Tx) error {
	_, err := openKV[K, V](tx, n)
	return err
}
