package op

import (
	"iter"

	"thalweg/serde"
	"thalweg/topology"
)

// FlatMap replaces a record by those of a sequence. A null value that f does not see makes none.
func FlatMap[K, V, K2, V2 any](f func(K, V) iter.Seq2[K2, V2]) topology.Make {
	seesNull, nullKey, nullValue := serde.IsNilable[V](), serde.NullOf[K2](), serde.NullOf[V2]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K2, V2]) (topology.Port[K, V], error) {
		var (
			out topology.Record[K2, V2]
			err error
		)
		yield := func(k K2, v V2) bool { // made once: a closure per record would be an allocation per record
			out.Key, out.Value = k, v
			out.NullKey = nullKey != nil && nullKey(&out.Key)
			out.NullValue = nullValue != nil && nullValue(&out.Value)
			err = next(&out)
			in.Resume()
			return err == nil
		}
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull {
				in.Drop(topology.NullValue)
				return nil
			}
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			err = nil
			if seq := f(r.Key, r.Value); seq != nil {
				seq(yield)
			}
			return err
		}, nil
	})
}

// FlatMapValues replaces a value by those of a sequence. A null that f does not see stays, once, null.
func FlatMapValues[K, V, V2 any](f func(K, V) iter.Seq[V2]) topology.Make {
	seesNull, nullValue := serde.IsNilable[V](), serde.NullOf[V2]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V2]) (topology.Port[K, V], error) {
		var (
			out topology.Record[K, V2]
			err error
		)
		yield := func(v V2) bool {
			out.Value = v
			out.NullValue = nullValue != nil && nullValue(&out.Value)
			err = next(&out)
			in.Resume()
			return err == nil
		}
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			out.Key, out.NullKey = r.Key, r.NullKey
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			if r.NullValue && !seesNull {
				out.Value, out.NullValue = *new(V2), true
				return next(&out)
			}
			err = nil
			if seq := f(r.Key, r.Value); seq != nil {
				seq(yield)
			}
			return err
		}, nil
	})
}
