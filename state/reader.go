package state

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Reader reads stores from outside of their tasks: what the tasks have checkpointed. It is safe for concurrent use as
// far as the engine's reader is; a snapshot gives one consistent view. It sees nothing of stores in memory.
type Reader struct {
	from       engine.Reader
	namespaces [][]byte
	lacking    error   // why there are no more namespaces; nil: there is nothing else
	stores     []Store // as the topology has them
}

// NewReader reads the given namespaces (see Namespace) of an engine or of a snapshot of it.
func NewReader(from engine.Reader, namespaces ...[]byte) *Reader {
	return &Reader{from: from, namespaces: namespaces}
}

// Lacking returns a Reader of the same namespaces for stores that have rows elsewhere, too. A key that it does not find
// may be there, so the look-up fails with the error; a scan yields what is here, and the error as its last pair's.
func (r *Reader) Lacking(err error) *Reader {
	return &Reader{from: r.from, namespaces: r.namespaces, lacking: err, stores: r.stores}
}

// Of returns a reader that reads stores with the serdes that these names have, whatever the names say that it is asked
// with: a topology may have given a store the serdes of the records that it is made of.
func (r *Reader) Of(stores ...Store) *Reader {
	return &Reader{from: r.from, namespaces: r.namespaces, lacking: r.lacking, stores: stores}
}

// named is the store of that name, or nil.
func (r *Reader) named(store string) Store {
	for _, s := range r.stores {
		if s.Name() == store {
			return s
		}
	}
	return nil
}

// keyRows reads the rows of a store that has all keys in one cache.
type keyRows struct {
	from     engine.Reader
	name     string
	prefixes [][]byte // one per namespace
	lacking  error    // see Reader
}

//go:noinline // see package comment
func (r *Reader) keyRows(name string) *keyRows {
	rows := &keyRows{from: r.from, name: name, lacking: r.lacking}
	for _, ns := range r.namespaces {
		rows.prefixes = append(rows.prefixes, append(layout.Store(nil, ns, name), layout.KindKey))
	}
	return rows
}

// readRow gets a row of a store and splits it.
func readRow(from engine.Reader, name string, key []byte) (value []byte, timestamp int64, found bool, err error) {
	row, found, err := from.Get(nil, key)
	if err != nil || !found {
		return nil, 0, false, err
	}
	if timestamp, value, err = layout.Value(row); err != nil {
		err = decodeError(name, "value", err)
	}
	return value, timestamp, err == nil, err
}

func (r *keyRows) get(key []byte) (value []byte, timestamp int64, found bool, err error) {
	for _, prefix := range r.prefixes {
		if value, timestamp, found, err = readRow(r.from, r.name, slices.Concat(prefix, key)); found || err != nil {
			break
		}
	}
	if !found && err == nil {
		err = r.lacking
	}
	if err != nil {
		err = fmt.Errorf("store %q: read: %w", r.name, err)
	}
	return value, timestamp, found, err
}

// scan calls yield for the rows whose keys lie in [lower, upper), namespace by namespace, until it returns false. The
// slices may be kept.
func (r *keyRows) scan(lower, upper []byte, reverse bool, yield func(key, value []byte, timestamp int64) bool) error {
	var memory byteArena
	for _, prefix := range r.prefixes {
		more, err := r.scanOne(prefix, lower, upper, reverse, &memory, yield)
		if err != nil {
			return fmt.Errorf("store %q: scan: %w", r.name, err)
		}
		if !more {
			return nil
		}
	}
	return failed(r.name, "scan", r.lacking)
}

func (r *keyRows) scanOne(
	prefix, lower, upper []byte, reverse bool, memory *byteArena, yield func(key, value []byte, timestamp int64) bool,
) (more bool, err error) {
	from, to := slices.Concat(prefix, lower), layout.After(prefix)
	if upper != nil {
		to = slices.Concat(prefix, upper)
	}
	if bytes.Compare(from, to) >= 0 {
		return true, nil
	}
	it, err := r.from.Iterate(from, to)
	if err != nil {
		return false, err
	}
	defer it.Close() //nolint:errcheck // nothing was written
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		row, err := it.Value()
		if err != nil {
			return false, err
		}
		timestamp, value, err := layout.Value(memory.copy(row))
		if err != nil {
			return false, err
		}
		if !yield(memory.copy(it.Key()[len(prefix):]), value, timestamp) {
			return false, nil
		}
	}
	return true, it.Error()
}

// KVReader reads a key-value store in all namespaces of a Reader.
type KVReader[K, V any] struct {
	rows  *keyRows
	codec codec[K, V]
}

// Read returns the reading side of the store.
func (s KV[K, V]) Read[R *Reader](reader R) *KVReader[K, V] {
	r := (*Reader)(reader)
	if known, ok := r.named(s.Name()).(KV[K, V]); ok {
		s = known
	}
	return &KVReader[K, V]{r.keyRows(s.Name()), codecOf[K, V](s.name)}
}

// Get returns the value of key with its timestamp. It looks into one namespace after the other.
func (v *KVReader[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	b, err := encodeKey(v.rows.name, v.codec.keys, key)
	if err != nil {
		return value, 0, false, err
	}
	encoded, timestamp, ok, err := v.rows.get(b)
	if ok {
		value, err = decodeValue(v.rows.name, v.codec.values, encoded)
	}
	return value, timestamp, ok && err == nil, err
}

// All yields every key, namespace by namespace, in each in ascending order of the key's bytes. A failure is yielded as
// the last pair's error.
func (v *KVReader[K, V]) All() iter.Seq2[Entry[K, V], error] { return v.RangeBytes(nil, nil, false) }

// Range yields the keys from from to to, both included, namespace by namespace.
func (v *KVReader[K, V]) Range(from, to K) iter.Seq2[Entry[K, V], error] {
	lower, upper, err := bounds(v.rows.name, v.codec.keys, from, to)
	if err != nil {
		return func(yield func(Entry[K, V], error) bool) { yield(Entry[K, V]{}, err) }
	}
	return v.RangeBytes(lower, upper, false)
}

// Prefix yields the keys whose bytes begin with prefix, namespace by namespace.
func (v *KVReader[K, V]) Prefix(prefix []byte) iter.Seq2[Entry[K, V], error] {
	return v.RangeBytes(prefix, layout.After(prefix), false)
}

// RangeBytes yields the keys whose bytes lie in [lower, upper); nil is open.
//
//go:noinline // see package comment
func (v *KVReader[K, V]) RangeBytes(lower, upper []byte, reverse bool) iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		err := v.rows.scan(lower, upper, reverse, func(key, value []byte, timestamp int64) bool {
			e, err := v.entry(key, value, timestamp)
			return yield(e, err) && err == nil
		})
		if err != nil {
			yield(Entry[K, V]{}, err)
		}
	}
}

func (v *KVReader[K, V]) entry(key, value []byte, timestamp int64) (e Entry[K, V], err error) {
	e.Timestamp = timestamp
	if e.Key, err = decodeKey(v.rows.name, v.codec.keys, key); err == nil {
		e.Value, err = decodeValue(v.rows.name, v.codec.values, value)
	}
	return e, err
}
