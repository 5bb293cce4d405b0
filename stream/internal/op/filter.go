package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// Filter lets the records through for which pass answers want.
func Filter[K, V any](pass func(*topology.Call, K, V) (bool, error), want bool) topology.Make {
	seesNull := serde.IsNilable[V]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V]) (topology.Port[K, V], error) {
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull {
				return next(r)
			}
			passes, err := pass(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value)
			if err != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, err)
			}
			if passes != want {
				return nil
			}
			return next(r)
		}, nil
	})
}
