package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// Filter lets the records through for which pass answers want.
func Filter[K, V any](pass func(K, V) bool, want bool) topology.Make {
	seesNull := serde.IsNilable[V]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V]) (topology.Port[K, V], error) {
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull || pass(r.Key, r.Value) == want {
				return next(r)
			}
			return nil
		}, nil
	})
}
