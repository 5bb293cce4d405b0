package op

import (
	"thalweg/state"
	"thalweg/topology"
)

// VersionedTable takes records as changes of rows, kept in a store with a history. A row that is not the key's newest
// goes on as a stale one; a row older than the history does not.
func VersionedTable[K, V any](st state.Versioned[K, V], old *bool) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, V], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		var out topology.Record[K, topology.Change[V]]
		old := *old
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullKey {
				in.Drop(topology.NullKey)
				return nil
			}
			c := &out.Value
			if c.HasOld = false; old {
				var err error
				if c.Old, _, c.HasOld, err = store.Get(r.Key); err != nil {
					return in.Fail(r.Timestamp, err)
				}
			}
			var latest, accepted bool
			var err error
			if r.NullValue {
				latest, accepted, err = store.Delete(r.Key, r.Timestamp)
			} else {
				latest, accepted, err = store.Put(r.Key, r.Value, r.Timestamp)
			}
			if err != nil {
				return in.Fail(r.Timestamp, err)
			}
			if !accepted {
				in.Drop(topology.Expired)
				return nil
			}
			c.New, c.HasNew, c.Stale = r.Value, !r.NullValue, !latest
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			return next(&out)
		}, nil
	})
}

// VersionedView reads a store with a history.
func VersionedView[K, V any](st state.Versioned[K, V]) View[K, V] {
	return func(h state.Host) (Get[K, V], error) {
		store, err := st.Open(h)
		if err != nil {
			return nil, err
		}
		return store.GetAsOf, nil
	}
}
