package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// A function of a table's rows sees the row that there was, too, where a node downstream has asked for old rows. If it
// fails for that one alone, the row was skipped when it came: nobody downstream knows it, and so there was none.

// FilterTable turns the rows for which pass does not answer want into none. With old values what was none before and
// stays none is not heard of.
func FilterTable[K, V any](
	pass func(*topology.Call, K, V) (bool, error), want, versioned bool, old *bool,
) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, topology.Change[V]], error) {
		var out topology.Record[K, topology.Change[V]]
		old := *old
		c := &out.Value
		filterOld := func() error {
			passes, err := pass(in.Call(), out.Key, c.Old)
			c.HasOld = passes == want
			return err
		}
		return func(r *topology.Record[K, topology.Change[V]]) error {
			in.Enter()
			call := in.CallAt(r.Timestamp, r.Headers)
			out = *r
			if c.HasNew {
				passes, err := pass(call, r.Key, c.New)
				if err != nil {
					return in.Error(topology.PhaseProcess, r.Timestamp, err)
				}
				c.HasNew = passes == want
			}
			if c.HasOld = old && c.HasOld; c.HasOld {
				done, err := in.Attempt(r.Timestamp, filterOld)
				if err != nil {
					return err
				}
				c.HasOld = c.HasOld && done
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
		return func(key K, asOf int64) (V, int64, bool, error) {
			row, ts, ok, err := get(key, asOf)
			if err != nil || !ok {
				return row, ts, false, err
			}
			passes, err := pass(in.Call(), key, row)
			return row, ts, passes == want, failedView(in, err)
		}, nil
	}
}

// MapTable replaces rows. A nil result is no row.
func MapTable[K, V, V2 any](f func(*topology.Call, K, V) (V2, error), old *bool) topology.Make {
	null := serde.NullOf[V2]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V2]],
	) (topology.Port[K, topology.Change[V]], error) {
		var (
			out topology.Record[K, topology.Change[V2]]
			was V
			old = *old
		)
		c := &out.Value
		mapOld := func() (err error) {
			c.Old, err = f(in.Call(), out.Key, was)
			return err
		}
		return func(r *topology.Record[K, topology.Change[V]]) (err error) {
			in.Enter()
			call := in.CallAt(r.Timestamp, r.Headers)
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			c.Stale = r.Value.Stale
			if c.HasNew = r.Value.HasNew; c.HasNew {
				if c.New, err = f(call, r.Key, r.Value.New); err != nil {
					return in.Error(topology.PhaseProcess, r.Timestamp, err)
				}
				c.HasNew = null == nil || !null(&c.New)
			}
			if c.HasOld = old && r.Value.HasOld; c.HasOld {
				was = r.Value.Old
				if c.HasOld, err = in.Attempt(r.Timestamp, mapOld); err != nil {
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
		return func(key K, asOf int64) (out V2, ts int64, ok bool, err error) {
			row, ts, ok, err := get(key, asOf)
			if err != nil || !ok {
				return out, ts, false, err
			}
			if out, err = f(in.Call(), key, row); err != nil {
				return out, ts, false, failedView(in, err)
			}
			return out, ts, null == nil || !null(&out), nil
		}, nil
	}
}
