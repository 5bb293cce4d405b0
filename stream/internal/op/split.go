package op

import (
	"fmt"

	"thalweg/serde"
	"thalweg/topology"
)

// Split sends a record to the child of the first predicate that holds, or to the child after these.
func Split[K, V any](when []func(*topology.Call, K, V) (bool, error)) topology.Make {
	seesNull := serde.IsNilable[V]()
	return topology.Operator(func(in *topology.Instance, next []any) (topology.Port[K, V], error) {
		if len(next) != len(when)+1 {
			return nil, fmt.Errorf("split: %d branches for %d predicates", len(next), len(when))
		}
		ports := make([]topology.Port[K, V], len(next))
		for i := range next {
			p, err := topology.Forward[K, V](next[i : i+1])
			if err != nil {
				return nil, err
			}
			ports[i] = p
		}
		rest := ports[len(when)]
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull {
				return rest(r)
			}
			c := in.CallAt(r.Timestamp, r.Headers)
			for i, holds := range when {
				ok, err := holds(c, r.Key, r.Value)
				if err != nil {
					return in.Error(topology.PhaseProcess, r.Timestamp, err)
				}
				if ok {
					return ports[i](r)
				}
			}
			return rest(r)
		}, nil
	})
}
