package op

import "thalweg/topology"

// Pass lets every record through: a merge, a branch.
func Pass[K, V any]() topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V]) (topology.Port[K, V], error) {
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			return next(r)
		}, nil
	})
}
