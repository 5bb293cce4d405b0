package state

import (
	"time"

	"thalweg/serde"
)

// NewWindowed names a window store: values by key and window start.
func NewWindowed[K, V any](name string) Windowed[K, V] {
	return Windowed[K, V]{spec: nameOf(Spec{Name: name, Kind: KindWindow}), codec: codecFor[K, V]()}
}

// Windowed names a store of values by key and window. Equal names are the same store.
type Windowed[K, V any] struct {
	spec  name
	codec codec[K, V]
}

// Name returns the store's durable name.
func (s Windowed[K, V]) Name() string { return s.spec.name() }

// Spec describes the store.
func (s Windowed[K, V]) Spec() Spec { return s.spec.get() }

// Check returns why the store can never work, or nil.
func (s Windowed[K, V]) Check() error { return checkCodec(s.spec.name(), s.codec) }

// Keys sets the serde of keys.
func (s Windowed[K, V]) Keys(keys serde.Serde[K]) Windowed[K, V] { s.codec.keys = keys; return s }

// Values sets the serde of values.
func (s Windowed[K, V]) Values(values serde.Serde[V]) Windowed[K, V] {
	s.codec.values = values
	return s
}

// KeySerde returns the serde of keys.
func (s Windowed[K, V]) KeySerde() serde.Serde[K] { return s.codec.keys }

// ValueSerde returns the serde of values.
func (s Windowed[K, V]) ValueSerde() serde.Serde[V] { return s.codec.values }

// Volatile leaves the changelog out: the store's newest writes may be lost in a crash, and all of it when the task
// moves to another machine.
func (s Windowed[K, V]) Volatile() Windowed[K, V] { s.spec = s.spec.with(volatile, 0); return s }

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s Windowed[K, V]) InMemory() Windowed[K, V] { s.spec = s.spec.with(inMemory, 0); return s }

// Topic adds configurations of the changelog topic to the defaults.
func (s Windowed[K, V]) Topic(config map[string]string) Windowed[K, V] {
	s.spec = s.spec.topic(config)
	return s
}

// Retain keeps windows readable for d behind the newest timestamp; operators ask for what they need at least.
func (s Windowed[K, V]) Retain(d time.Duration) Windowed[K, V] {
	s.spec = s.spec.with(retention, d)
	return s
}

// Size sets the size of the windows; the windowed operators set it from their window.
func (s Windowed[K, V]) Size(d time.Duration) Windowed[K, V] {
	s.spec = s.spec.with(windowSize, d)
	return s
}

// Open returns the task's instance: the same one each time.
func (s Windowed[K, V]) Open(h Host) (*WindowStore[K, V], error) {
	tx, err := h.Tx(s.spec.name())
	if err != nil {
		return nil, err
	}
	return openWindow(tx, s)
}

// Prepare opens the task's instance before a node asks for it.
func (s Windowed[K, V]) Prepare(tx *Tx) error {
	_, err := openWindow(tx, s)
	return err
}
