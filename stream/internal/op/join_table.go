package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// JoinTable joins each record of a stream with the newest row of its key. left joins null where there is none, also
// for records without a key; otherwise such records go nowhere.
func JoinTable[K, V, O, R any](table View[K, O], left bool, f func(K, V, *O) R) topology.Make {
	null := serde.NullOf[R]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, R]) (topology.Port[K, V], error) {
		get, err := table(in)
		if err != nil {
			return nil, err
		}
		var (
			out topology.Record[K, R]
			row O
		)
		return func(r *topology.Record[K, V]) (err error) {
			in.Enter()
			switch {
			case r.NullValue:
				in.Drop(topology.NullValue)
				return nil
			case r.NullKey && !left:
				in.Drop(topology.NullKey)
				return nil
			}
			var found *O
			if !r.NullKey {
				var ok bool
				if row, _, ok, err = get(r.Key); err != nil {
					return in.Fail(r.Timestamp, err)
				}
				if ok {
					found = &row
				} else if !left {
					return nil
				}
			}
			out.Value = f(r.Key, r.Value, found)
			out.NullValue = null != nil && null(&out.Value)
			out.Key, out.NullKey = r.Key, r.NullKey
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			return next(&out)
		}, nil
	})
}
