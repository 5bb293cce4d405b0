package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// TransformTable replaces rows: f gets nil where there is none. A nil result is no row.
func TransformTable[K, V, V2 any](f func(*topology.Call, K, *V) (V2, error), old *bool) topology.Make {
	null := serde.NullOf[V2]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V2]],
	) (topology.Port[K, topology.Change[V]], error) {
		var (
			out topology.Record[K, topology.Change[V2]]
			row V // slot that f's pointer points to
		)
		rows, old := newPerRow(in, f), *old
		transform := func(has bool, from V) (V2, bool, error) {
			var p *V
			if row = from; has {
				p = &row
			}
			return ofPerRow(rows, out.Key, p)
		}
		return func(r *topology.Record[K, topology.Change[V]]) (err error) {
			in.Enter()
			in.CallAt(r.Timestamp, r.Headers)
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			c := &out.Value
			c.Stale = r.Value.Stale
			if c.New, c.HasNew, err = transform(r.Value.HasNew, r.Value.New); err != nil {
				return err
			}
			c.HasNew = c.HasNew && (null == nil || !null(&c.New))
			if c.HasOld = old; old {
				if c.Old, c.HasOld, err = transform(r.Value.HasOld, r.Value.Old); err != nil {
					return err
				}
				c.HasOld = c.HasOld && (null == nil || !null(&c.Old))
			}
			return next(&out)
		}, nil
	})
}

// TransformView reads through a TransformTable.
func TransformView[K, V, V2 any](v View[K, V], f func(*topology.Call, K, *V) (V2, error)) View[K, V2] {
	null := serde.NullOf[V2]()
	return func(in *topology.Instance) (Get[K, V2], error) {
		get, err := v(in)
		if err != nil {
			return nil, err
		}
		var slot V
		var out V2 // slot that null's pointer points to
		return func(key K, l Lookup) (found[V2], error) {
			row, err := get(key, l)
			if err != nil || row.changed {
				return found[V2]{changed: row.changed}, err
			}
			var is *V
			if slot = row.row; row.ok {
				is = &slot
			} else {
				row.timestamp = topology.Unknown
			}
			if out, err = f(in.Call(), key, is); err != nil {
				return found[V2]{}, failedView(in, err)
			}
			return found[V2]{row: out, timestamp: row.timestamp, ok: null == nil || !null(&out)}, nil
		}, nil
	}
}
