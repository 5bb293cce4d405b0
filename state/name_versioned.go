package state

import (
	"time"

	"thalweg/serde"
)

// NewVersioned names a store that keeps, for history behind the newest timestamp, every version of a key's value.
func NewVersioned[K, V any](name string, history time.Duration) Versioned[K, V] {
	spec := Spec{Name: name, Kind: KindVersioned, Retention: history}
	return Versioned[K, V]{spec: nameOf(spec), codec: codecFor[K, V]()}
}

// Versioned names a key-value store with a history. Equal names are the same store.
type Versioned[K, V any] struct {
	spec  name
	codec codec[K, V]
}

// Name returns the store's durable name.
func (s Versioned[K, V]) Name() string { return s.spec.name() }

// Spec describes the store.
func (s Versioned[K, V]) Spec() Spec { return s.spec.get() }

// Check returns why the store can never work, or nil.
func (s Versioned[K, V]) Check() error { return checkCodec(s.spec.name(), s.codec) }

// Keys sets the serde of keys.
func (s Versioned[K, V]) Keys(keys serde.Serde[K]) Versioned[K, V] { s.codec.keys = keys; return s }

// Values sets the serde of values.
func (s Versioned[K, V]) Values(values serde.Serde[V]) Versioned[K, V] {
	s.codec.values = values
	return s
}

// KeySerde returns the serde of keys.
func (s Versioned[K, V]) KeySerde() serde.Serde[K] { return s.codec.keys }

// ValueSerde returns the serde of values.
func (s Versioned[K, V]) ValueSerde() serde.Serde[V] { return s.codec.values }

// Volatile leaves the changelog out: the store's newest writes may be lost in a crash, and all of it when the task
// moves to another machine.
func (s Versioned[K, V]) Volatile() Versioned[K, V] { s.spec = s.spec.with(volatile, 0); return s }

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s Versioned[K, V]) InMemory() Versioned[K, V] { s.spec = s.spec.with(inMemory, 0); return s }

// Topic adds configurations of the changelog topic to the defaults.
func (s Versioned[K, V]) Topic(config map[string]string) Versioned[K, V] {
	s.spec = s.spec.topic(config)
	return s
}

// Open returns the task's instance: the same one each time.
func (s Versioned[K, V]) Open(h Host) (*VersionedStore[K, V], error) {
	tx, err := h.Tx(s.spec.name())
	if err != nil {
		return nil, err
	}
	return openVersioned(tx, s)
}

// Prepare opens the task's instance before a node asks for it.
func (s Versioned[K, V]) Prepare(tx *Tx) error {
	_, err := openVersioned(tx, s)
	return err
}
