package state

import (
	"time"

	"thalweg/serde"
)

// NewVersioned names a store that keeps, for history behind the newest timestamp, every version of a key's value.
func NewVersioned[K, V any](name string, history time.Duration) Versioned[K, V] {
	spec := Spec{Name: name, Kind: KindVersioned, Retention: history}
	return Versioned[K, V]{newName(spec, serde.For[K](), serde.For[V](), prepareVersioned[K, V])}
}

// Versioned names a key-value store with a history. Equal names are the same store.
type Versioned[K, V any] struct{ name }

// Keys sets the serde of keys.
func (s Versioned[K, V]) Keys[S serde.Serde[K]](keys S) Versioned[K, V] {
	return Versioned[K, V]{withSerdes(s.name, keys, nil)}
}

// Values sets the serde of values.
func (s Versioned[K, V]) Values[S serde.Serde[V]](values S) Versioned[K, V] {
	return Versioned[K, V]{withSerdes(s.name, nil, values)}
}

// Inherit gives the store the serdes of the records of which it is made, where it has none of its own and they are of
// its types: operators use it.
func (s Versioned[K, V]) Inherit[S Versioned[K, V]](keys, values any) Versioned[K, V] {
	return Versioned[K, V]{inherit(s.name, keys, values)}
}

// KeySerde returns the serde of keys.
func (s Versioned[K, V]) KeySerde[S Versioned[K, V]]() serde.Serde[K] {
	return codecOf[K, V](s.name).keys
}

// ValueSerde returns the serde of values.
func (s Versioned[K, V]) ValueSerde[S Versioned[K, V]]() serde.Serde[V] {
	return codecOf[K, V](s.name).values
}

// Volatile leaves the changelog out. A crash loses all rows that were not written to the disk, which may be every
// row: the engine has no log, and writes when a buffer is full and every ten minutes. A task that moves to another
// machine leaves all rows behind. Committed offsets stay, so lost rows are not built again. A start that finds no rows
// though offsets are committed logs a warning; it cannot see that a part is missing.
func (s Versioned[K, V]) Volatile[S Versioned[K, V]]() Versioned[K, V] {
	return Versioned[K, V]{with(s.name, volatile, 0)}
}

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s Versioned[K, V]) InMemory[S Versioned[K, V]]() Versioned[K, V] {
	return Versioned[K, V]{with(s.name, inMemory, 0)}
}

// Topic adds configurations of the changelog topic to the defaults. One under which the changelog would lose what the
// store needs is refused.
func (s Versioned[K, V]) Topic[M ~map[string]string](config M) Versioned[K, V] {
	return Versioned[K, V]{withTopic(s.name, config)}
}

// Open returns the task's instance: the same one each time.
func (s Versioned[K, V]) Open[H Host](h H) (*VersionedStore[K, V], error) {
	tx, err := h.Tx(s.Name())
	if err != nil {
		return nil, err
	}
	return openVersioned[K, V](tx, s.name)
}

func prepareVersioned[K, V any](n name, tx *Tx) error {
	_, err := openVersioned[K, V](tx, n)
	return err
}
