package op

import (
	"fmt"

	"thalweg/serde"
	"thalweg/topology"
)

// KeepsPartition lets every record through. Where the task says how many partitions its inputs have, it fails at one
// whose key belongs to another partition than the task's.
func KeepsPartition[K, V any](keys serde.Serde[K]) topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V]) (topology.Port[K, V], error) {
		if in.Env.Partitions == 0 {
			return func(r *topology.Record[K, V]) error {
				in.Enter()
				return next(r)
			}, nil
		}
		hash := hasherOf(serde.Local(keys))
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullKey { // it belongs nowhere
				return next(r)
			}
			b, err := hash(r.Key)
			if err != nil {
				return in.Error(topology.PhaseEncode, r.Timestamp, err)
			}
			if p := topology.PartitionFor(b, in.Env.Partitions); p != in.Env.Partition {
				return in.Fail(r.Timestamp, misplaced(r.Key, p, in.Env))
			}
			return next(r)
		}, nil
	})
}

func misplaced(key any, belongs int32, e *topology.Env) error {
	return fmt.Errorf("KeepsPartition: the record of key %v is in partition %d, but its key belongs to partition %d of "+
		"%d: put a Repartition in its place", key, e.Partition, belongs, e.Partitions)
}

// hasherOf gives the bytes of a key by which its partition is chosen. They are valid until the next call.
func hasherOf[K any](keys serde.Serde[K]) func(K) ([]byte, error) {
	appendHash := keys.Append
	if own, ok := keys.(interface {
		AppendHash(dst []byte, key K) ([]byte, error)
	}); ok {
		appendHash = own.AppendHash
	}
	var b []byte
	return func(key K) (_ []byte, err error) {
		b, err = appendHash(b[:0], key)
		return b, err
	}
}
