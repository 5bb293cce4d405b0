package op

import (
	"thalweg/state"
	"thalweg/topology"
)

// Get reads a table's row of a key.
type Get[K, V any] func(key K, l Lookup) (found[V], error)

// Lookup says which row of a key Get returns.
type Lookup struct {
	State RowState
	// AsOf is the time of the row, in milliseconds, for a Current row of a versioned table. state.Latest is the newest.
	AsOf int64
}

// RowState is a row's state between a change and its emission.
type RowState uint8

const (
	// Current is the row with all changes so far.
	Current RowState = iota
	// LastEmitted is the row that the table's children know: a newer one is emitted with the commit.
	LastEmitted
	// LastEmittedUnchanged is LastEmitted if the row has not changed since. Otherwise only found.changed is set: the
	// table will emit a new row or a deletion, if there was a row.
	LastEmittedUnchanged
	// BeforeChange is the row before the change that the table's owner is handing on, if the owner marks its changes,
	// and otherwise the current row.
	BeforeChange
)

// newest asks for the current row, which in a versioned table is the newest.
var newest = Lookup{AsOf: state.Latest}

// found is the row of a table for a key.
type found[V any] struct {
	row       V
	timestamp int64 // of the row: without one it says nothing
	ok        bool
	changed   bool // LastEmittedUnchanged only: there is a newer row, or a deletion
}

// A View makes the Get by which another node reads a table: from its store, or through the functions between the store
// and the table. If one of these functions fails, the node that reads has failed. They get the node's call.
type View[K, V any] func(in *topology.Instance) (Get[K, V], error)

// failedView makes the error of a function that a view reads through the failure of the node that reads.
func failedView(in *topology.Instance, err error) error {
	return in.Error(topology.PhaseProcess, in.Call().Timestamp(), err)
}

// StoreView reads a store.
func StoreView[K, V any](st state.KV[K, V]) View[K, V] {
	return func(in *topology.Instance) (Get[K, V], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		in.Announce(st.KeySerde(), store.Prefetcher(true))
		was := beforeOf[V](in, st.Name())
		return func(key K, l Lookup) (f found[V], err error) {
			switch {
			case l.State == BeforeChange && was.on:
				return found[V]{row: was.row, timestamp: topology.Unknown, ok: was.has}, nil
			case l.State == Current, l.State == BeforeChange:
				f.row, f.timestamp, f.ok, err = store.Get(key)
				return f, err
			}
			f.row, f.timestamp, f.ok, f.changed, err = store.LastEmitted(key)
			switch {
			case l.State == LastEmitted:
				f.changed = false
			case f.changed:
				f = found[V]{changed: true}
			}
			return f, err
		}, nil
	}
}

// Table takes records as changes of rows, kept in a store: a null value deletes.
func Table[K, V any](st state.KV[K, V], rows Rows) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, V], error) {
		w, err := newRowWriter(in, st, rows, next)
		if err != nil {
			return nil, err
		}
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullKey {
				in.Drop(topology.NullKey)
				return nil
			}
			return writeRow(w, r.Key, r.Value, !r.NullValue, r.Timestamp, r.Headers)
		}, nil
	})
}

// StatelessTable is Table without a store: it does not know the row before a change.
func StatelessTable[K, V any]() topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, V], error) {
		var out topology.Record[K, topology.Change[V]]
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullKey {
				in.Drop(topology.NullKey)
				return nil
			}
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			out.Value.New, out.Value.HasNew = r.Value, !r.NullValue
			return next(&out)
		}, nil
	})
}

// Materialize keeps a table's rows in a store.
func Materialize[K, V any](st state.KV[K, V], rows Rows) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, topology.Change[V]], error) {
		w, err := newRowWriter(in, st, rows, next)
		if err != nil {
			return nil, err
		}
		return func(r *topology.Record[K, topology.Change[V]]) error {
			in.Enter()
			return writeRow(w, r.Key, r.Value.New, r.Value.HasNew, r.Timestamp, r.Headers)
		}, nil
	})
}

// rowWriter puts rows into a store and hands the changes on.
type rowWriter[K, V any] struct {
	in    *topology.Instance
	store *state.KVStore[K, V]
	next  topology.Port[K, topology.Change[V]] // nil: changes are emitted with the commit
	old   bool
	quiet bool            // a deletion of what was not there is neither kept nor emitted
	ttl   *ttlIndex[K, V] // nil: rows never expire
	out   topology.Record[K, topology.Change[V]]
}

func newRowWriter[K, V any](
	in *topology.Instance, st state.KV[K, V], rows Rows, next topology.Port[K, topology.Change[V]],
) (*rowWriter[K, V], error) {
	store, err := st.Open(in)
	if err != nil {
		return nil, err
	}
	next = marking(in, st.Name(), next)
	w := &rowWriter[K, V]{in: in, store: store, old: *rows.Old}
	if rows.onUpdate(in) {
		w.next, w.quiet = next, rows.Sparse && w.old
	} else {
		emitOnFlush(in, st, store, w.old, next)
	}
	in.Announce(st.KeySerde(), store.Prefetcher(w.next != nil && w.old))
	w.ttl, err = newTTLIndex(in, st, store, func(key K, ts int64) error {
		return putRow(w, key, *new(V), false, ts, nil)
	})
	return w, err
}

func writeRow[K, V any](w *rowWriter[K, V], key K, row V, has bool, ts int64, headers []topology.Header) error {
	if w.ttl != nil {
		if expired, err := advanceTTL(w.ttl, ts); err != nil {
			return w.in.Fail(ts, err)
		} else if expired {
			w.in.DropLate(topology.Expired, ts)
			return nil
		}
		w.in.Resume()
	}
	return putRow(w, key, row, has, ts, headers)
}

func putRow[K, V any](w *rowWriter[K, V], key K, row V, has bool, ts int64, headers []topology.Header) error {
	ref, err := w.store.Find(key)
	if err == nil && w.ttl != nil && has {
		err = noteTTLChange(w.ttl, key, ref, ts)
	}
	if err != nil {
		return w.in.Fail(ts, err)
	}
	c := &w.out.Value
	if c.HasOld = false; w.old && w.next != nil {
		if c.Old, _, c.HasOld, err = w.store.Value(ref); err != nil {
			return w.in.Fail(ts, err)
		}
	}
	if w.quiet && !has && !c.HasOld {
		return nil
	}
	if has {
		err = w.store.Set(ref, row, ts)
	} else {
		err = w.store.Remove(ref, ts)
	}
	if err != nil {
		return w.in.Fail(ts, err)
	}
	if w.next == nil {
		return nil
	}
	c.New, c.HasNew = row, has
	w.out.Key, w.out.Timestamp, w.out.Headers = key, ts, headers
	return w.next(&w.out)
}

// ToStream makes each change of a row a record: a deletion has a null value.
func ToStream[K, V any]() topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, V],
	) (topology.Port[K, topology.Change[V]], error) {
		var out topology.Record[K, V]
		return func(r *topology.Record[K, topology.Change[V]]) error {
			in.Enter()
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			out.NullValue = !r.Value.HasNew
			if out.NullValue {
				out.Value = *new(V)
			} else {
				out.Value = r.Value.New
			}
			return next(&out)
		}, nil
	})
}
