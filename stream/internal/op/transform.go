package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// TransformTable replaces rows: f gets nil where there is none. A nil result is no row.
func TransformTable[K, V, V2 any](f func(K, *V) V2, old *bool) topology.Make {
	null := serde.NullOf[V2]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V2]],
	) (topology.Port[K, topology.Change[V]], error) {
		var (
			out topology.Record[K, topology.Change[V2]]
			row V // slot that f's pointer points to
			old = *old
		)
		return func(r *topology.Record[K, topology.Change[V]]) error {
			in.Enter()
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			c := &out.Value
			c.Stale = r.Value.Stale
			if row = r.Value.New; r.Value.HasNew {
				c.New = f(r.Key, &row)
			} else {
				c.New = f(r.Key, nil)
			}
			c.HasNew = null == nil || !null(&c.New)
			if c.HasOld = old; old {
				if row = r.Value.Old; r.Value.HasOld {
					c.Old = f(r.Key, &row)
				} else {
					c.Old = f(r.Key, nil)
				}
				c.HasOld = null == nil || !null(&c.Old)
			}
			return next(&out)
		}, nil
	})
}

// TransformView reads through a TransformTable.
func TransformView[K, V, V2 any](v View[K, V], f func(K, *V) V2) View[K, V2] {
	null := serde.NullOf[V2]()
	return func(h state.Host) (Get[K, V2], error) {
		get, err := v(h)
		if err != nil {
			return nil, err
		}
		return func(key K, asOf int64) (out V2, ts int64, ok bool, err error) {
			row, ts, ok, err := get(key, asOf)
			switch {
			case err != nil:
				return out, ts, false, err
			case ok:
				out = f(key, &row)
			default:
				out = f(key, nil)
			}
			return out, ts, null == nil || !null(&out), nil
		}, nil
	}
}
