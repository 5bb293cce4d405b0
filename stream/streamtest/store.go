package streamtest

import (
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// tx makes a task's transaction object.
func (d *Driver) tx(id task.ID) *state.Tx {
	return state.NewTx(state.Config{
		Engine: d.engine, Namespace: state.Namespace(id.Partition), CheckpointCommits: d.config.CheckpointCommits,
	})
}

// Tx is where a task keeps a store, for store.Open: the way to everything that a store can do. It fails the test
// when no task has the store for the partition.
func (d *Driver) Tx(store state.Store, partition int32) *state.Tx {
	d.t.Helper()
	for _, r := range d.globals {
		if has(r, store) {
			return r.Tx()
		}
	}
	for _, r := range d.runs {
		if r.ID().Partition == partition && has(r, store) {
			return r.Tx()
		}
	}
	d.t.Fatalf("streamtest: store %q: no task has it for partition %d", store.Name(), partition)
	return nil
}

func has(r *run, store state.Store) bool {
	for _, s := range r.Tx().Stores() {
		if s.Name() == store.Name() {
			return true
		}
	}
	return false
}

// Row is a row of a store.
type Row[V any] struct {
	Value     V
	Timestamp int64
}

// Get looks a key up in whichever partition has it.
func (d *Driver) Get[K, V any](store state.KV[K, V], key K) (value V, ok bool) {
	d.t.Helper()
	row, ok := d.GetRow(store, key)
	return row.Value, ok
}

// GetRow is Get with the row's timestamp.
func (d *Driver) GetRow[K, V any](store state.KV[K, V], key K) (row Row[V], ok bool) {
	d.t.Helper()
	for _, st := range open(d, store) {
		value, timestamp, ok, err := st.Get(key)
		d.must(err)
		if ok {
			return Row[V]{value, timestamp}, true
		}
	}
	return row, false
}

// Rows are all rows of a store, of all partitions.
func Rows[K comparable, V any](d *Driver, store state.KV[K, V]) map[K]Row[V] {
	d.t.Helper()
	rows := map[K]Row[V]{}
	for _, st := range open(d, store) {
		for e, err := range st.All() {
			d.must(err)
			rows[e.Key] = Row[V]{e.Value, e.Timestamp}
		}
	}
	return rows
}

func open[K, V any](d *Driver, store state.KV[K, V]) (stores []*state.KVStore[K, V]) {
	d.t.Helper()
	for _, r := range d.all() {
		if has(r, store) {
			st, err := store.Open(r.Tx())
			d.must(err)
			stores = append(stores, st)
		}
	}
	if len(stores) == 0 {
		d.t.Fatalf("streamtest: store %q: no task has it", store.Name())
	}
	return stores
}

// Dropped is how many records were left out for a reason, by all nodes.
func (d *Driver) Dropped(why topology.Reason) (n int64) {
	d.each(func(s task.NodeStats) { n += s.Dropped[why] })
	return n
}

// DroppedTotal is how many records were left out in all.
func (d *Driver) DroppedTotal() (n int64) {
	for why := range topology.Reasons {
		n += d.Dropped(topology.Reason(why))
	}
	return n
}

// Node is what a node has done, in all tasks.
func (d *Driver) Node(name string) (sum task.NodeStats) {
	sum.Node = name
	d.each(func(s task.NodeStats) {
		if s.Node != name {
			return
		}
		sum.Processed += s.Processed
		for why, n := range s.Dropped {
			sum.Dropped[why] += n
		}
	})
	return sum
}

func (d *Driver) each(f func(task.NodeStats)) {
	var s task.Stats
	for _, r := range d.all() {
		r.Stats(&s)
		for _, n := range s.Nodes {
			f(n)
		}
	}
}
