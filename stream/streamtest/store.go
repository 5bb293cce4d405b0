package streamtest

import (
	"slices"

	"thalweg/internal/task"
	"thalweg/serde"
	"thalweg/state"
)

// tx makes a task's transaction object.
func (d *Driver) tx(id task.ID) *state.Tx {
	return state.NewTx(state.Config{
		Engine: d.engine, Namespace: state.Namespace(id.Partition), CheckpointCommits: d.config.CheckpointCommits,
	})
}

func has(r *run, store state.Store) bool {
	for _, s := range r.Tx().Stores() {
		if s.Name() == store.Name() {
			return true
		}
	}
	return false
}

// stores opens a store in each task that has it.
func stores[S any](d *Driver, store state.Store, open func(*state.Tx) (S, error)) (all []S) {
	d.t.Helper()
	for _, r := range d.all() {
		if has(r, store) {
			st, err := open(r.Tx())
			d.must(err)
			all = append(all, st)
		}
	}
	if len(all) == 0 {
		d.t.Fatalf("streamtest: store %q: no task has it", store.Name())
	}
	return all
}

// named is a store as the topology has it, which may have given it the serdes of the records that it is made of.
func named[S state.Store](d *Driver, store S) S {
	for _, sub := range slices.Concat(d.topo.Subtopologies(), d.topo.Globals()) {
		for _, st := range sub.Stores {
			if known, ok := st.(S); ok && st.Name() == store.Name() {
				return known
			}
		}
	}
	return store
}

// copier copies values: what a store holds may be changed in place by the next record.
func copier[V any](d *Driver, store string, values serde.Serde[V]) func(V) V {
	return func(v V) V {
		d.t.Helper()
		b, err := values.Append(nil, v)
		if err == nil {
			v, err = values.Decode(b)
		}
		if err != nil {
			d.t.Fatalf("streamtest: store %q: copy a value: %v", store, err)
		}
		return v
	}
}

// Row is a row of a store.
type Row[V any] struct {
	Value     V
	Timestamp int64
}

// Get returns a copy of a key's value, from whichever partition has it.
func (d *Driver) Get[K, V any](store state.KV[K, V], key K) (value V, ok bool) {
	d.t.Helper()
	row, ok := d.GetRow(store, key)
	return row.Value, ok
}

// GetRow is Get with the row's timestamp.
func (d *Driver) GetRow[K, V any](store state.KV[K, V], key K) (row Row[V], ok bool) {
	d.t.Helper()
	store = named(d, store)
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		value, timestamp, ok, err := st.Get(key)
		d.must(err)
		if ok {
			return Row[V]{copier(d, store.Name(), store.ValueSerde())(value), timestamp}, true
		}
	}
	return row, false
}

// Rows are all rows of a store, of all partitions.
func Rows[K comparable, V any](d *Driver, store state.KV[K, V]) map[K]Row[V] {
	d.t.Helper()
	store = named(d, store)
	rows, clone := map[K]Row[V]{}, copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		for e, err := range st.All() {
			d.must(err)
			rows[e.Key] = Row[V]{clone(e.Value), e.Timestamp}
		}
	}
	return rows
}

// Entries are all rows of a store, in the order of their encoded keys; partition by partition.
func (d *Driver) Entries[K, V any](store state.KV[K, V]) (rows []state.Entry[K, V]) {
	d.t.Helper()
	store = named(d, store)
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		for e, err := range st.All() {
			d.must(err)
			e.Value = clone(e.Value)
			rows = append(rows, e)
		}
	}
	return rows
}

// Range are the rows from one key to another, both included, in the order of their encoded keys; partition by
// partition.
func (d *Driver) Range[K, V any](store state.KV[K, V], from, to K) (rows []state.Entry[K, V]) {
	d.t.Helper()
	store = named(d, store)
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		for e, err := range st.Range(from, to) {
			d.must(err)
			e.Value = clone(e.Value)
			rows = append(rows, e)
		}
	}
	return rows
}
