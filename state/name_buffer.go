package state

import (
	"time"

	"thalweg/serde"
)

// NewBuffer names one side's buffer of a stream-stream join: records by key and time, equal ones kept apart.
func NewBuffer[K, V any](name string) Buffer[K, V] {
	return Buffer[K, V]{newName(Spec{Name: name, Kind: KindJoin}, serde.For[K](), serde.For[V](), prepareBuffer[K, V])}
}

// Buffer names a buffer of records by key and time. Equal names are the same store.
type Buffer[K, V any] struct{ name }

// Keys sets the serde of keys.
func (s Buffer[K, V]) Keys[S serde.Serde[K]](keys S) Buffer[K, V] {
	return Buffer[K, V]{withSerdes(s.name, keys, nil)}
}

// Values sets the serde of values.
func (s Buffer[K, V]) Values[S serde.Serde[V]](values S) Buffer[K, V] {
	return Buffer[K, V]{withSerdes(s.name, nil, values)}
}

// KeySerde returns the serde of keys.
func (s Buffer[K, V]) KeySerde[S Buffer[K, V]]() serde.Serde[K] { return codecOf[K, V](s.name).keys }

// ValueSerde returns the serde of values.
func (s Buffer[K, V]) ValueSerde[S Buffer[K, V]]() serde.Serde[V] {
	return codecOf[K, V](s.name).values
}

// Retain keeps records for d behind the newest one; operators ask for what they need at least. Without it the store of
// a processor keeps them forever.
func (s Buffer[K, V]) Retain[D time.Duration](d D) Buffer[K, V] {
	return Buffer[K, V]{with(s.name, retention, time.Duration(d))}
}

// Open returns the task's instance: the same one each time.
func (s Buffer[K, V]) Open[H Host](h H) (*BufferStore[K, V], error) {
	tx, err := h.Tx(s.Name())
	if err != nil {
		return nil, err
	}
	return openBuffer[K, V](tx, s.name)
}

func prepareBuffer[K, V any](n name, tx *Tx) error {
	_, err := openBuffer[K, V](tx, n)
	return err
}
