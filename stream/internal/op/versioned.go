package op

import (
	"thalweg/state"
	"thalweg/topology"
)

// VersionedTable takes records as changes of rows, kept in a store with a history. A row that is not the key's newest
// is passed on as a stale one. A row older than the history is dropped.
func VersionedTable[K, V any](st state.Versioned[K, V], old *bool) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, V], error) {
		w, err := newVersionWriter(in, st, Rows{Old: old}, next)
		if err != nil {
			return nil, err
		}
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullKey {
				in.Drop(topology.NullKey)
				return nil
			}
			return writeVersion(w, r.Key, r.Value, !r.NullValue, r.Timestamp, r.Headers)
		}, nil
	})
}

// MaterializeVersioned keeps a table's rows in a store with a history.
func MaterializeVersioned[K, V any](st state.Versioned[K, V], rows Rows) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, topology.Change[V]], error) {
		w, err := newVersionWriter(in, st, rows, next)
		if err != nil {
			return nil, err
		}
		return func(r *topology.Record[K, topology.Change[V]]) error {
			in.Enter()
			return writeVersion(w, r.Key, r.Value.New, r.Value.HasNew, r.Timestamp, r.Headers)
		}, nil
	})
}

// versionWriter puts rows into a store with a history and hands the changes on.
type versionWriter[K, V any] struct {
	in    *topology.Instance
	store *state.VersionedStore[K, V]
	next  topology.Port[K, topology.Change[V]]
	old   bool
	out   topology.Record[K, topology.Change[V]]

	quiet bool // a deletion of what was not there is neither kept nor emitted
}

func newVersionWriter[K, V any](
	in *topology.Instance, st state.Versioned[K, V], rows Rows, next topology.Port[K, topology.Change[V]],
) (*versionWriter[K, V], error) {
	store, err := st.Open(in)
	if err != nil {
		return nil, err
	}
	in.Announce(st.KeySerde(), store.Prefetcher())
	w := &versionWriter[K, V]{in: in, store: store, next: marking(in, st.Name(), next), old: *rows.Old}
	w.quiet = rows.Sparse && w.old
	return w, nil
}

func writeVersion[K, V any](
	w *versionWriter[K, V], key K, row V, has bool, ts int64, headers []topology.Header) (err error,
) {
	c := &w.out.Value
	if c.HasOld = false; w.old {
		if c.Old, _, c.HasOld, err = w.store.Get(key); err != nil {
			return w.in.Fail(ts, err)
		}
	}
	if w.quiet && !has && !c.HasOld {
		return nil
	}
	var latest, accepted bool
	if has {
		latest, accepted, err = w.store.Put(key, row, ts)
	} else {
		latest, accepted, err = w.store.Delete(key, ts)
	}
	if err != nil {
		return w.in.Fail(ts, err)
	}
	if !accepted {
		w.in.Drop(topology.Expired)
		return nil
	}
	c.New, c.HasNew, c.Stale = row, has, !latest
	w.out.Key, w.out.Timestamp, w.out.Headers = key, ts, headers
	return w.next(&w.out)
}

// VersionedView reads a store with a history.
func VersionedView[K, V any](st state.Versioned[K, V]) View[K, V] {
	return func(in *topology.Instance) (Get[K, V], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		in.Announce(st.KeySerde(), store.Prefetcher())
		was := beforeOf[V](in, st.Name())
		return func(key K, l Lookup) (f found[V], err error) {
			if l.State == BeforeChange && was.on {
				return found[V]{row: was.row, timestamp: topology.Unknown, ok: was.has}, nil
			}
			if l.State != Current { // changes are emitted at once
				l.AsOf = state.Latest
			}
			f.row, f.timestamp, f.ok, err = store.GetAsOf(key, l.AsOf)
			return f, err
		}, nil
	}
}

// VersionedViewAfter reads the earliest row from a time on, of which the row must be no more than some milliseconds
// later.
func VersionedViewAfter[K, V any](st state.Versioned[K, V], most int64) View[K, V] {
	return func(in *topology.Instance) (Get[K, V], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		in.Announce(st.KeySerde(), store.Prefetcher())
		return func(key K, l Lookup) (f found[V], err error) {
			f.row, f.timestamp, f.ok, err = store.Earliest(key, l.AsOf, l.AsOf+most)
			return f, err
		}, nil
	}
}
