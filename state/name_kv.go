package state

import (
	"time"

	"thalweg/serde"
)

// NewKV names a key-value store. Serdes are found by type (serde.For) and set with Keys and Values.
func NewKV[K, V any](name string) KV[K, V] {
	return KV[K, V]{spec: nameOf(Spec{Name: name, Kind: KindKeyValue}), codec: codecFor[K, V]()}
}

// NewSuppressed names the buffer of a suppression: a key-value store whose changelog records say in which form their
// values are, as Kafka Streams wants it.
func NewSuppressed[K, V any](name string) KV[K, V] {
	return KV[K, V]{spec: nameOf(Spec{Name: name, Kind: KindSuppress}), codec: codecFor[K, V]()}
}

// KV names a key-value store with timestamps. Equal names are the same store.
type KV[K, V any] struct {
	spec  name
	codec codec[K, V]
}

// Name returns the store's durable name.
func (s KV[K, V]) Name() string { return s.spec.name() }

// Spec describes the store.
func (s KV[K, V]) Spec() Spec { return s.spec.get() }

// Check returns why the store can never work, or nil.
func (s KV[K, V]) Check() error { return checkCodec(s.spec.name(), s.codec) }

// Keys sets the serde of keys.
func (s KV[K, V]) Keys(keys serde.Serde[K]) KV[K, V] { s.codec.keys = keys; return s }

// Values sets the serde of values.
func (s KV[K, V]) Values(values serde.Serde[V]) KV[K, V] { s.codec.values = values; return s }

// KeySerde returns the serde of keys.
func (s KV[K, V]) KeySerde() serde.Serde[K] { return s.codec.keys }

// ValueSerde returns the serde of values.
func (s KV[K, V]) ValueSerde() serde.Serde[V] { return s.codec.values }

// Volatile leaves the changelog out: the store's newest writes may be lost in a crash, and all of it when the task
// moves to another machine.
func (s KV[K, V]) Volatile() KV[K, V] { s.spec = s.spec.with(volatile, 0); return s }

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s KV[K, V]) InMemory() KV[K, V] { s.spec = s.spec.with(inMemory, 0); return s }

// Topic adds configurations of the changelog topic to the defaults.
func (s KV[K, V]) Topic(config map[string]string) KV[K, V] {
	s.spec = s.spec.topic(config)
	return s
}

// TTL deletes a key when it was not changed for d, by the time of the records that the store's table or aggregation
// sees, and tells of the deletion as of any other. Records that are so old already are left out, counted as expired.
// The keys are in memory, too, and all rows are read when a task starts. What a processor keeps lives as long as the
// processor says.
func (s KV[K, V]) TTL(d time.Duration) KV[K, V] { s.spec = s.spec.with(ttl, d); return s }

// Open returns the task's instance: the same one each time.
func (s KV[K, V]) Open(h Host) (*KVStore[K, V], error) {
	tx, err := h.Tx(s.spec.name())
	if err != nil {
		return nil, err
	}
	return openKV(tx, s)
}

// Prepare opens the task's instance before a node asks for it.
func (s KV[K, V]) Prepare(tx *Tx) error {
	_, err := openKV(tx, s)
	return err
}
