package op

import (
	"errors"
	"math"

	"thalweg/state"
	"thalweg/topology"
)

// Get reads a table's row of a key. Versioned tables answer as of a time, others with their newest row; state.Latest
// asks for the newest of any, Told and Steady for the one that the table's children know.
type Get[K, V any] func(key K, asOf int64) (row V, timestamp int64, ok bool, err error)

// What else a table can be asked for.
const (
	// Told is the row that the table emitted last, where it has a newer one that it will emit with the commit.
	Told int64 = math.MinInt64 + 1
	// Steady is the same row, or the error errChanging where it is another already: if there was a row, the table will
	// emit a new one or a deletion.
	Steady = Told + 1
	// Before is the row before the change that the table's owner is handing on, where it is marked, and otherwise the
	// newest.
	Before = Told - 1
)

var errChanging = errors.New("table: a newer row is about to be emitted")

// A View is how a table is read by another node: from its store, or through the functions between the store and it. If
// one of them fails, the node that reads has failed. Their call is that of the node.
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
		return func(key K, asOf int64) (V, int64, bool, error) {
			if asOf == Before && was.on {
				return was.row, topology.Unknown, was.has, nil
			}
			if asOf > Steady || asOf == Before {
				return store.Get(key)
			}
			row, ts, ok, changed, err := store.Told(key)
			if changed && asOf == Steady {
				err = errChanging
			}
			return row, ts, ok, err
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

// Rowless is Table without a store: what was before is not known.
func Rowless[K, V any]() topology.Make {
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
	next  topology.Port[K, topology.Change[V]] // nil: changes go on with the commit
	old   bool
	quiet bool            // a deletion of what was not there is neither kept nor emitted
	life  *lifetime[K, V] // nil: rows live for ever
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
		flushTo(in, st, store, w.old, next)
	}
	in.Announce(st.KeySerde(), store.Prefetcher(w.next != nil && w.old))
	w.life, err = newLifetime(in, st, store, func(key K, ts int64) error {
		return putRow(w, key, *new(V), false, ts, nil)
	})
	return w, err
}

func writeRow[K, V any](w *rowWriter[K, V], key K, row V, has bool, ts int64, headers []topology.Header) error {
	if w.life != nil {
		if expired, err := passLifetime(w.life, ts); err != nil {
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
	if err == nil && w.life != nil && has {
		err = changesLifetime(w.life, key, ref, ts)
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
