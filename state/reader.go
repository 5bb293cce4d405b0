package state

import (
	"bytes"
	"fmt"
	"iter"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Reader reads stores from outside of their tasks: what the tasks have checkpointed. It is safe for concurrent use as
// far as the engine's reader is; a snapshot gives one consistent view. It sees nothing of stores in memory.
type Reader struct {
	from       engine.Reader
	namespaces [][]byte
}

// NewReader reads the given namespaces (see Namespace) of an engine or of a snapshot of it.
func NewReader(from engine.Reader, namespaces ...[]byte) *Reader {
	return &Reader{from: from, namespaces: namespaces}
}

// KVReader reads a key-value store in all namespaces of a Reader.
type KVReader[K, V any] struct {
	reader   *Reader
	name     KV[K, V]
	prefixes [][]byte
}

// Read returns the reading side of the store.
func (s KV[K, V]) Read(r *Reader) *KVReader[K, V] {
	v := &KVReader[K, V]{reader: r, name: s}
	for _, ns := range r.namespaces {
		v.prefixes = append(v.prefixes, append(layout.Store(nil, ns, s.spec.Name), layout.KindKey))
	}
	return v
}

// Get returns the value of key with its timestamp. It looks into one namespace after the other.
func (v *KVReader[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	var full []byte
	for i, prefix := range v.prefixes {
		if i > 0 {
			copy(full, prefix) // all have one length
		} else if full, err = v.name.codec.keys.Append(append(full, prefix...), key); err != nil {
			return value, 0, false, fmt.Errorf("store %q: encode key: %w", v.name.Name(), err)
		}
		row, found, err := v.reader.from.Get(nil, full)
		if err != nil {
			return value, 0, false, fmt.Errorf("store %q: read: %w", v.name.Name(), err)
		}
		if found {
			value, timestamp, err = v.decode(row)
			return value, timestamp, err == nil, err
		}
	}
	return value, 0, false, nil
}

func (v *KVReader[K, V]) decode(row []byte) (value V, timestamp int64, err error) {
	timestamp, encoded, err := layout.Value(row)
	if err == nil {
		value, err = v.name.codec.values.Decode(encoded)
	}
	if err != nil {
		err = decodeError(v.name.Name(), "value", err)
	}
	return value, timestamp, err
}

// All yields every key, namespace by namespace, in each in ascending order of the key's bytes. A failure is yielded as
// the last pair's error.
func (v *KVReader[K, V]) All() iter.Seq2[Entry[K, V], error] { return v.RangeBytes(nil, nil, false) }

// Range yields the keys from from to to, both included, namespace by namespace.
func (v *KVReader[K, V]) Range(from, to K) iter.Seq2[Entry[K, V], error] {
	lower, err := v.name.codec.keys.Append(nil, from)
	if err == nil {
		var upper []byte
		if upper, err = v.name.codec.keys.Append(nil, to); err == nil {
			return v.RangeBytes(notNil(lower), append(upper, 0), false)
		}
	}
	return func(yield func(Entry[K, V], error) bool) {
		yield(Entry[K, V]{}, fmt.Errorf("store %q: encode key: %w", v.name.Name(), err))
	}
}

// Prefix yields the keys whose bytes begin with prefix, namespace by namespace.
func (v *KVReader[K, V]) Prefix(prefix []byte) iter.Seq2[Entry[K, V], error] {
	return v.RangeBytes(prefix, layout.After(prefix), false)
}

// RangeBytes yields the keys whose bytes lie in [lower, upper); nil is open.
func (v *KVReader[K, V]) RangeBytes(lower, upper []byte, reverse bool) iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		for _, prefix := range v.prefixes {
			more, err := v.scan(prefix, lower, upper, reverse, yield)
			if err != nil {
				yield(Entry[K, V]{}, fmt.Errorf("store %q: scan: %w", v.name.Name(), err))
			}
			if !more || err != nil {
				return
			}
		}
	}
}

func (v *KVReader[K, V]) scan(
	prefix, lower, upper []byte, reverse bool, yield func(Entry[K, V], error) bool,
) (more bool, err error) {
	from := append(append([]byte(nil), prefix...), lower...)
	to := layout.After(prefix)
	if upper != nil {
		to = append(append([]byte(nil), prefix...), upper...)
	}
	if bytes.Compare(from, to) >= 0 {
		return true, nil
	}
	it, err := v.reader.from.Iterate(from, to)
	if err != nil {
		return false, err
	}
	defer it.Close() //nolint:errcheck // nothing was written
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	var memory stable
	for ok := first(); ok; ok = next() {
		row, err := it.Value()
		if err != nil {
			return false, err
		}
		var e Entry[K, V]
		if e.Key, err = v.name.codec.keys.Decode(memory.copy(it.Key()[len(prefix):])); err != nil {
			return false, err
		}
		if e.Value, e.Timestamp, err = v.decode(memory.copy(row)); err != nil {
			return false, err
		}
		if !yield(e, nil) {
			return false, nil
		}
	}
	return true, it.Error()
}
