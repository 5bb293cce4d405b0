package state

import (
	"time"

	"thalweg/serde"
)

// NewSession names a session store: values by key and session.
func NewSession[K, V any](name string) Session[K, V] {
	spec := Spec{Name: name, Kind: KindSession}
	return Session[K, V]{newName(spec, serde.For[K](), serde.For[V](), prepareSession[K, V])}
}

// NewUnmatched names the store of records of a stream-stream join without a match so far: sessions of one moment each.
// Its changelog is that of a key-value store with the time before the key, as in Kafka Streams, and is kept forever:
// what is in it is deleted record by record, and must not be lost while time stands still.
func NewUnmatched[K, V any](name string) Session[K, V] {
	spec := Spec{Name: name, Kind: KindUnmatched}
	return Session[K, V]{newName(spec, serde.For[K](), serde.For[V](), prepareSession[K, V])}
}

// Session names a store of values by key and session. Equal names are the same store.
type Session[K, V any] struct{ name }

// Keys sets the serde of keys.
func (s Session[K, V]) Keys[S serde.Serde[K]](keys S) Session[K, V] {
	return Session[K, V]{withSerdes(s.name, keys, nil)}
}

// Values sets the serde of values.
func (s Session[K, V]) Values[S serde.Serde[V]](values S) Session[K, V] {
	return Session[K, V]{withSerdes(s.name, nil, values)}
}

// Inherit gives the store the serdes of the records of which it is made, where it has none of its own and they are of
// its types: operators use it.
func (s Session[K, V]) Inherit[S Session[K, V]](keys, values any) Session[K, V] {
	return Session[K, V]{inherit(s.name, keys, values)}
}

// KeySerde returns the serde of keys.
func (s Session[K, V]) KeySerde[S Session[K, V]]() serde.Serde[K] { return codecOf[K, V](s.name).keys }

// ValueSerde returns the serde of values.
func (s Session[K, V]) ValueSerde[S Session[K, V]]() serde.Serde[V] {
	return codecOf[K, V](s.name).values
}

// Volatile leaves the changelog out. A crash loses all rows that were not written to the disk, which may be every
// row: the engine has no log, and writes when a buffer is full and every ten minutes. A task that moves to another
// machine leaves all rows behind. Committed offsets stay, so lost rows are not built again. A start that finds no rows
// though offsets are committed logs a warning; it cannot see that a part is missing.
func (s Session[K, V]) Volatile[S Session[K, V]]() Session[K, V] {
	return Session[K, V]{with(s.name, volatile, 0)}
}

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s Session[K, V]) InMemory[S Session[K, V]]() Session[K, V] {
	return Session[K, V]{with(s.name, inMemory, 0)}
}

// Topic adds configurations of the changelog topic to the defaults. One under which the changelog would lose what the
// store needs is refused.
func (s Session[K, V]) Topic[M ~map[string]string](config M) Session[K, V] {
	return Session[K, V]{withTopic(s.name, config)}
}

// Retain keeps sessions for d behind the newest end of a session that was written; operators ask for what they
// need at least. Without it the store of a processor keeps them forever.
func (s Session[K, V]) Retain[D time.Duration](d D) Session[K, V] {
	return Session[K, V]{with(s.name, retention, time.Duration(d))}
}

// Open returns the task's instance: the same one each time.
func (s Session[K, V]) Open[H Host](h H) (*SessionStore[K, V], error) {
	tx, err := h.Tx(s.Name())
	if err != nil {
		return nil, err
	}
	return openSession[K, V](tx, s.name)
}

func prepareSession[K, V any](n name, tx *Tx) error {
	_, err := openSession[K, V](tx, n)
	return err
}
