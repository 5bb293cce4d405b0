package streamtest

import (
	"thalweg/state"
)

// GetAsOf returns a copy of the value that a key of a versioned store had at a time; [state.Latest] is the newest. The
// timestamp is when it began.
func (d *Driver) GetAsOf[K, V any](store state.Versioned[K, V], key K, asOf int64) (row Row[V], ok bool) {
	d.t.Helper()
	store = named(d, store)
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		value, timestamp, ok, err := st.GetAsOf(key, asOf)
		d.must(err)
		if ok {
			return Row[V]{copier(d, store.Name(), store.ValueSerde())(value), timestamp}, true
		}
	}
	return row, false
}

// Versions are the versions of a key of a versioned store, the newest first, with those that say that it was deleted.
func (d *Driver) Versions[K, V any](store state.Versioned[K, V], key K) (versions []state.Version[V]) {
	d.t.Helper()
	store = named(d, store)
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		for asOf := state.Latest; ; {
			v, found, err := st.Version(key, asOf)
			d.must(err)
			if !found {
				break
			}
			if v.Exists {
				v.Value = clone(v.Value)
			}
			versions = append(versions, v)
			asOf = v.From - 1
		}
	}
	return versions
}

// Buffered are the records of a key that a buffer, such as that of a join, holds from one time to another, both
// included.
func (d *Driver) Buffered[K, V any](
	store state.Buffer[K, V], key K, from, to int64,
) (records []state.BufferEntry[V]) {
	d.t.Helper()
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		found, err := st.Fetch(key, from, to)
		d.must(err)
		for _, e := range found {
			e.Value = clone(e.Value)
			records = append(records, e)
		}
	}
	return records
}
