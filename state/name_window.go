package state

import (
	"time"

	"thalweg/serde"
)

// NewWindowed names a window store: values by key and window start.
func NewWindowed[K, V any](name string) Windowed[K, V] {
	return Windowed[K, V]{newName(Spec{Name: name, Kind: KindWindow}, serde.For[K](), serde.For[V](), prepareWindow[K, V])}
}

// Windowed names a store of values by key and window. Equal names are the same store.
type Windowed[K, V any] struct{ name }

// Keys sets the serde of keys.
func (s Windowed[K, V]) Keys[S serde.Serde[K]](keys S) Windowed[K, V] {
	return Windowed[K, V]{withSerdes(s.name, keys, nil)}
}

// Values sets the serde of values.
func (s Windowed[K, V]) Values[S serde.Serde[V]](values S) Windowed[K, V] {
	return Windowed[K, V]{withSerdes(s.name, nil, values)}
}

// Inherit gives the store the serdes of the records of which it is made, where it has none of its own and they are of
// its types: operators use it.
func (s Windowed[K, V]) Inherit[S Windowed[K, V]](keys, values any) Windowed[K, V] {
	return Windowed[K, V]{inherit(s.name, keys, values)}
}

// KeySerde returns the serde of keys.
func (s Windowed[K, V]) KeySerde[S Windowed[K, V]]() serde.Serde[K] {
	return codecOf[K, V](s.name).keys
}

// ValueSerde returns the serde of values.
func (s Windowed[K, V]) ValueSerde[S Windowed[K, V]]() serde.Serde[V] {
	return codecOf[K, V](s.name).values
}

// Volatile leaves the changelog out. A crash loses all rows that were not written to the disk, which may be every
// row: the engine has no log, and writes when a buffer is full and every ten minutes. A task that moves to another
// machine leaves all rows behind. Committed offsets stay, so lost rows are not built again. A start that finds no rows
// though offsets are committed logs a warning; it cannot see that a part is missing.
func (s Windowed[K, V]) Volatile[S Windowed[K, V]]() Windowed[K, V] {
	return Windowed[K, V]{with(s.name, volatile, 0)}
}

// InMemory keeps the store in memory alone: it is restored from its changelog at every start.
func (s Windowed[K, V]) InMemory[S Windowed[K, V]]() Windowed[K, V] {
	return Windowed[K, V]{with(s.name, inMemory, 0)}
}

// Topic adds configurations of the changelog topic to the defaults. One under which the changelog would lose what the
// store needs is refused.
func (s Windowed[K, V]) Topic[M ~map[string]string](config M) Windowed[K, V] {
	return Windowed[K, V]{withTopic(s.name, config)}
}

// Retain keeps windows for d behind the newest start of a window that was written; operators ask for what they
// need at least. Without it the store of a processor keeps them forever.
func (s Windowed[K, V]) Retain[D time.Duration](d D) Windowed[K, V] {
	return Windowed[K, V]{with(s.name, retention, time.Duration(d))}
}

// Size sets the size of the windows; the windowed operators set it from their window.
func (s Windowed[K, V]) Size[D time.Duration](d D) Windowed[K, V] {
	return Windowed[K, V]{with(s.name, windowSize, time.Duration(d))}
}

// Open returns the task's instance: the same one each time.
func (s Windowed[K, V]) Open[H Host](h H) (*WindowStore[K, V], error) {
	tx, err := h.Tx(s.Name())
	if err != nil {
		return nil, err
	}
	return openWindow[K, V](tx, s.name)
}

func prepareWindow[K, V any](n name, tx *Tx) error {
	_, err := openWindow[K, V](tx, n)
	return err
}
