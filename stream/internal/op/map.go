package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// Map replaces key and value. A key can't be made of a null value that f does not see: such a record is dropped.
func Map[K, V, K2, V2 any](f func(*topology.Call, K, V) (K2, V2, error)) topology.Make {
	seesNull, nullKey, nullValue := serde.IsNilable[V](), serde.NullOf[K2](), serde.NullOf[V2]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K2, V2]) (topology.Port[K, V], error) {
		var out topology.Record[K2, V2]
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull {
				in.Drop(topology.NullValue)
				return nil
			}
			var err error
			if out.Key, out.Value, err = f(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value); err != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, err)
			}
			out.NullKey = nullKey != nil && nullKey(&out.Key)
			out.NullValue = nullValue != nil && nullValue(&out.Value)
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			return next(&out)
		}, nil
	})
}

// MapValues replaces the value. A null that f does not see stays null.
func MapValues[K, V, V2 any](f func(*topology.Call, K, V) (V2, error)) topology.Make {
	seesNull, nullValue := serde.IsNilable[V](), serde.NullOf[V2]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V2]) (topology.Port[K, V], error) {
		var out topology.Record[K, V2]
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull {
				out.Value, out.NullValue = *new(V2), true
			} else {
				var err error
				if out.Value, err = f(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value); err != nil {
					return in.Error(topology.PhaseProcess, r.Timestamp, err)
				}
				out.NullValue = nullValue != nil && nullValue(&out.Value)
			}
			out.Key, out.NullKey = r.Key, r.NullKey
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			return next(&out)
		}, nil
	})
}

// SelectKey replaces the key. As in Map, a null value that f does not see makes no key.
func SelectKey[K, V, K2 any](f func(*topology.Call, K, V) (K2, error)) topology.Make {
	seesNull, nullKey := serde.IsNilable[V](), serde.NullOf[K2]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K2, V]) (topology.Port[K, V], error) {
		var out topology.Record[K2, V]
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull {
				in.Drop(topology.NullValue)
				return nil
			}
			var err error
			if out.Key, err = f(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value); err != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, err)
			}
			out.NullKey = nullKey != nil && nullKey(&out.Key)
			out.Value, out.NullValue = r.Value, r.NullValue
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			return next(&out)
		}, nil
	})
}
