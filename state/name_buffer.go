package state

import (
	"time"

	"thalweg/serde"
)

// NewBuffer names one side's buffer of a stream-stream join: records by key and time, equal ones kept apart.
func NewBuffer[K, V any](name string) Buffer[K, V] {
	return Buffer[K, V]{spec: nameOf(Spec{Name: name, Kind: KindJoin}), codec: codecFor[K, V]()}
}

// Buffer names a buffer of records by key and time. Equal names are the same store.
type Buffer[K, V any] struct {
	spec  name
	codec codec[K, V]
}

// Name returns the store's durable name.
func (s Buffer[K, V]) Name() string { return s.spec.name() }

// Spec describes the store.
func (s Buffer[K, V]) Spec() Spec { return s.spec.get() }

// Check returns why the store can never work, or nil.
func (s Buffer[K, V]) Check() error { return checkCodec(s.spec.name(), s.codec) }

// Keys sets the serde of keys.
func (s Buffer[K, V]) Keys(keys serde.Serde[K]) Buffer[K, V] { s.codec.keys = keys; return s }

// Values sets the serde of values.
func (s Buffer[K, V]) Values(values serde.Serde[V]) Buffer[K, V] {
	s.codec.values = values
	return s
}

// KeySerde returns the serde of keys.
func (s Buffer[K, V]) KeySerde() serde.Serde[K] { return s.codec.keys }

// ValueSerde returns the serde of values.
func (s Buffer[K, V]) ValueSerde() serde.Serde[V] { return s.codec.values }

// Volatile leaves the changelog out: the store's newest writes may be lost in a crash, and all of it when the task
// moves to another machine.
func (s Buffer[K, V]) Volatile() Buffer[K, V] { s.spec = s.spec.with(volatile, 0); return s }

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s Buffer[K, V]) InMemory() Buffer[K, V] { s.spec = s.spec.with(inMemory, 0); return s }

// Topic adds configurations of the changelog topic to the defaults.
func (s Buffer[K, V]) Topic(config map[string]string) Buffer[K, V] {
	s.spec = s.spec.topic(config)
	return s
}

// Retain keeps records for d behind the newest timestamp; operators ask for what they need at least.
func (s Buffer[K, V]) Retain(d time.Duration) Buffer[K, V] {
	s.spec = s.spec.with(retention, d)
	return s
}

// Open returns the task's instance: the same one each time.
func (s Buffer[K, V]) Open(h Host) (*BufferStore[K, V], error) {
	tx, err := h.Tx(s.spec.name())
	if err != nil {
		return nil, err
	}
	return openBuffer(tx, s)
}

// Prepare opens the task's instance before a node asks for it.
func (s Buffer[K, V]) Prepare(tx *Tx) error {
	_, err := openBuffer(tx, s)
	return err
}
