package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// Lookup is how a record finds its row in a global table.
type Lookup[K, V, GK, GV any] struct {
	Store state.KV[GK, GV]
	Key   func(K, V) (GK, bool)
	Null  func(*GK) bool // nil: the type has no null
}

// JoinGlobal joins each record of a stream with the row of a global table that its lookup finds. left joins null where
// there is none.
func JoinGlobal[K, V, GK, GV, R any](c Lookup[K, V, GK, GV], left bool, f func(V, *GV) R) topology.Make {
	null := serde.NullOf[R]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, R]) (topology.Port[K, V], error) {
		var (
			rows = c.Store.Read(in.Env.Globals)
			row  GV // slot that f's pointer points to
			out  topology.Record[K, R]
		)
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if r.NullValue {
				in.Drop(topology.NullValue)
				return nil
			}
			key, ok := c.Key(r.Key, r.Value)
			ok = ok && (c.Null == nil || !c.Null(&key))
			if !ok && !left {
				in.Drop(topology.NullKey)
				return nil
			}
			if ok {
				var err error
				if row, _, ok, err = rows.Get(key); err != nil {
					return in.Fail(r.Timestamp, err)
				}
				if !ok && !left {
					return nil
				}
			}
			var found *GV
			if ok {
				found = &row
			}
			out.Value = f(r.Value, found)
			out.NullValue = null != nil && null(&out.Value)
			out.Key, out.NullKey, out.Timestamp, out.Headers = r.Key, r.NullKey, r.Timestamp, r.Headers
			return next(&out)
		}, nil
	})
}
