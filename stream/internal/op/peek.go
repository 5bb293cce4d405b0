package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// Peek shows every record to look and lets it through. The end of a stream is one without children.
func Peek[K, V any](look func(*topology.Call, K, V) error) topology.Make {
	seesNull := serde.IsNilable[V]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V]) (topology.Port[K, V], error) {
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if !r.NullValue || seesNull {
				if err := look(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value); err != nil {
					return in.Error(topology.PhaseProcess, r.Timestamp, err)
				}
			}
			return next(r)
		}, nil
	})
}
