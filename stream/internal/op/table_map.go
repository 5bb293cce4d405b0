package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// FilterTable turns the rows for which pass does not answer want into none. With old values what was none before and
// stays none is not heard of.
func FilterTable[K, V any](
	pass func(*topology.Call, K, V) (bool, error), want, versioned bool, old *bool,
) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, topology.Change[V]], error) {
		var out topology.Record[K, topology.Change[V]]
		passes, old := newPerRow(in, pass), *old
		there := func(has bool, row V) (bool, error) {
			if !has {
				return false, nil
			}
			is, ok, err := ofPerRow(passes, out.Key, row)
			return ok && is == want, err
		}
		return func(r *topology.Record[K, topology.Change[V]]) (err error) {
			in.Enter()
			in.CallAt(r.Timestamp, r.Headers)
			out = *r
			c := &out.Value
			if c.HasNew, err = there(c.HasNew, c.New); err != nil {
				return err
			}
			if c.HasOld, err = there(c.HasOld && old, c.Old); err != nil {
				return err
			}
			if old && !c.HasNew && !c.HasOld && !versioned {
				return nil
			}
			return next(&out)
		}, nil
	})
}

// FilterView reads through a filter.
func FilterView[K, V any](v View[K, V], pass func(*topology.Call, K, V) (bool, error), want bool) View[K, V] {
	return func(in *topology.Instance) (Get[K, V], error) {
		get, err := v(in)
		if err != nil {
			return nil, err
		}
		return func(key K, l Lookup) (found[V], error) {
			row, err := get(key, l)
			if err != nil || !row.ok {
				return found[V]{changed: row.changed}, err
			}
			passes, err := pass(in.Call(), key, row.row)
			row.ok = passes == want
			return row, failedView(in, err)
		}, nil
	}
}

// MapTable replaces rows. A nil result is no row.
func MapTable[K, V, V2 any](f func(*topology.Call, K, V) (V2, error), old *bool) topology.Make {
	null := serde.NullOf[V2]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V2]],
	) (topology.Port[K, topology.Change[V]], error) {
		var out topology.Record[K, topology.Change[V2]]
		rows, old := newPerRow(in, f), *old
		return func(r *topology.Record[K, topology.Change[V]]) (err error) {
			in.Enter()
			in.CallAt(r.Timestamp, r.Headers)
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			c := &out.Value
			c.Stale = r.Value.Stale
			if c.HasNew = r.Value.HasNew; c.HasNew {
				if c.New, c.HasNew, err = ofPerRow(rows, r.Key, r.Value.New); err != nil {
					return err
				}
				c.HasNew = c.HasNew && (null == nil || !null(&c.New))
			}
			if c.HasOld = old && r.Value.HasOld; c.HasOld {
				if c.Old, c.HasOld, err = ofPerRow(rows, r.Key, r.Value.Old); err != nil {
					return err
				}
				c.HasOld = c.HasOld && (null == nil || !null(&c.Old))
			}
			return next(&out)
		}, nil
	})
}

// MapView reads through a MapTable.
func MapView[K, V, V2 any](v View[K, V], f func(*topology.Call, K, V) (V2, error)) View[K, V2] {
	null := serde.NullOf[V2]()
	return func(in *topology.Instance) (Get[K, V2], error) {
		get, err := v(in)
		if err != nil {
			return nil, err
		}
		var out V2 // slot that null's pointer points to
		return func(key K, l Lookup) (found[V2], error) {
			row, err := get(key, l)
			if err != nil || !row.ok {
				return found[V2]{changed: row.changed}, err
			}
			if out, err = f(in.Call(), key, row.row); err != nil {
				return found[V2]{}, failedView(in, err)
			}
			return found[V2]{row: out, timestamp: row.timestamp, ok: null == nil || !null(&out)}, nil
		}, nil
	}
}
