package op

import "thalweg/topology"

// DropNulls leaves out null values, uncounted.
func DropNulls[K, V any]() topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V]) (topology.Port[K, V], error) {
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue {
				return nil
			}
			return next(r)
		}, nil
	})
}
