package state

import (
	"time"

	"thalweg/serde"
)

// NewSession names a session store: values by key and session.
func NewSession[K, V any](name string) Session[K, V] {
	return Session[K, V]{spec: nameOf(Spec{Name: name, Kind: KindSession}), codec: codecFor[K, V]()}
}

// NewHeld names the store of what has met nothing yet in a stream-stream join: sessions of one moment each. Its
// changelog is that of a key-value store with the time before the key, as in Kafka Streams, and is kept for ever: what
// is held goes by deletion, and must not be lost where time stands still.
func NewHeld[K, V any](name string) Session[K, V] {
	return Session[K, V]{spec: nameOf(Spec{Name: name, Kind: KindHeld}), codec: codecFor[K, V]()}
}

// Session names a store of values by key and session. Equal names are the same store.
type Session[K, V any] struct {
	spec  name
	codec codec[K, V]
}

// Name returns the store's durable name.
func (s Session[K, V]) Name() string { return s.spec.name() }

// Spec describes the store.
func (s Session[K, V]) Spec() Spec { return s.spec.get() }

// Check returns why the store can never work, or nil.
func (s Session[K, V]) Check() error { return checkCodec(s.spec.name(), s.codec) }

// Keys sets the serde of keys.
func (s Session[K, V]) Keys(keys serde.Serde[K]) Session[K, V] { s.codec.keys = keys; return s }

// Values sets the serde of values.
func (s Session[K, V]) Values(values serde.Serde[V]) Session[K, V] { s.codec.values = values; return s }

// KeySerde returns the serde of keys.
func (s Session[K, V]) KeySerde() serde.Serde[K] { return s.codec.keys }

// ValueSerde returns the serde of values.
func (s Session[K, V]) ValueSerde() serde.Serde[V] { return s.codec.values }

// Volatile leaves the changelog out: the store's newest writes may be lost in a crash, and all of it when the task
// moves to another machine.
func (s Session[K, V]) Volatile() Session[K, V] { s.spec = s.spec.with(volatile, 0); return s }

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s Session[K, V]) InMemory() Session[K, V] { s.spec = s.spec.with(inMemory, 0); return s }

// Topic adds configurations of the changelog topic to the defaults.
func (s Session[K, V]) Topic(config map[string]string) Session[K, V] {
	s.spec = s.spec.topic(config)
	return s
}

// Retain keeps sessions readable for d behind the newest timestamp; operators ask for what they need at least.
func (s Session[K, V]) Retain(d time.Duration) Session[K, V] {
	s.spec = s.spec.with(retention, d)
	return s
}

// Open returns the task's instance: the same one each time.
func (s Session[K, V]) Open(h Host) (*SessionStore[K, V], error) {
	tx, err := h.Tx(s.spec.name())
	if err != nil {
		return nil, err
	}
	return openSession(tx, s)
}

// Prepare opens the task's instance before a node asks for it.
func (s Session[K, V]) Prepare(tx *Tx) error {
	_, err := openSession(tx, s)
	return err
}
