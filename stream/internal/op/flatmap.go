package op

import (
	"iter"

	"thalweg/serde"
	"thalweg/topology"
)

// FlatMap replaces a record by those of a sequence. A null value that f does not see makes none.
//
// If the task continues after a failure, nothing is sent before the sequence has come to its end: it may panic.
func FlatMap[K, V, K2, V2 any](f func(*topology.Call, K, V) (iter.Seq2[K2, V2], error)) topology.Make {
	seesNull, nullKey, nullValue := serde.IsNilable[V](), serde.NullOf[K2](), serde.NullOf[V2]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K2, V2]) (topology.Port[K, V], error) {
		var (
			out  topology.Record[K2, V2]
			held []Pair[K2, V2]
			err  error
		)
		send := func(k K2, v V2) bool { // made once: a closure per record would be an allocation per record
			out.Key, out.Value = k, v
			out.NullKey = nullKey != nil && nullKey(&out.Key)
			out.NullValue = nullValue != nil && nullValue(&out.Value)
			err = next(&out)
			in.Resume()
			return err == nil
		}
		yield := send
		if in.Env.Guarded {
			yield = func(k K2, v V2) bool { held = append(held, Pair[K2, V2]{k, v}); return true }
		}
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue && !seesNull {
				in.Drop(topology.NullValue)
				return nil
			}
			seq, failed := f(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value)
			if failed != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, failed)
			}
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			err, held = nil, emptied(held)
			if seq != nil {
				seq(yield)
			}
			for i := 0; i < len(held) && send(held[i].Key, held[i].Within); i++ {
			}
			return err
		}, nil
	})
}

// FlatMapValues replaces a value by those of a sequence. A null that f does not see stays, once, null. See FlatMap.
func FlatMapValues[K, V, V2 any](f func(*topology.Call, K, V) (iter.Seq[V2], error)) topology.Make {
	seesNull, nullValue := serde.IsNilable[V](), serde.NullOf[V2]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V2]) (topology.Port[K, V], error) {
		var (
			out  topology.Record[K, V2]
			held []V2
			err  error
		)
		send := func(v V2) bool {
			out.Value = v
			out.NullValue = nullValue != nil && nullValue(&out.Value)
			err = next(&out)
			in.Resume()
			return err == nil
		}
		yield := send
		if in.Env.Guarded {
			yield = func(v V2) bool { held = append(held, v); return true }
		}
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			out.Key, out.NullKey = r.Key, r.NullKey
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			if r.NullValue && !seesNull {
				out.Value, out.NullValue = *new(V2), true
				return next(&out)
			}
			seq, failed := f(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value)
			if failed != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, failed)
			}
			err, held = nil, emptied(held)
			if seq != nil {
				seq(yield)
			}
			for i := 0; i < len(held) && send(held[i]); i++ {
			}
			return err
		}, nil
	})
}

// emptied is a slice with its memory and none of its elements.
func emptied[T any](s []T) []T {
	clear(s)
	return s[:0]
}
