package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// GlobalLookup is how a record finds its row in a global table.
type GlobalLookup[K, V, GK, GV any] struct {
	Store state.KV[GK, GV]
	Key   func(*topology.Call, K, V) (GK, bool, error)
	Null  func(*GK) bool // nil: the type has no null
}

// JoinGlobal joins each record of a stream with the row of a global table that its lookup finds. left joins null where
// there is none.
func JoinGlobal[K, V, GK, GV, R any](
	c GlobalLookup[K, V, GK, GV], left bool, f func(*topology.Call, K, V, *GV) (R, error),
) topology.Make {
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
			call := in.CallAt(r.Timestamp, r.Headers)
			key, ok, err := c.Key(call, r.Key, r.Value)
			if err != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, err)
			}
			ok = ok && (c.Null == nil || !c.Null(&key))
			if !ok && !left {
				in.Drop(topology.NullKey)
				return nil
			}
			if ok {
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
			if out.Value, err = f(call, r.Key, r.Value, found); err != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, err)
			}
			out.NullValue = null != nil && null(&out.Value)
			out.Key, out.NullKey, out.Timestamp, out.Headers = r.Key, r.NullKey, r.Timestamp, r.Headers
			return next(&out)
		}, nil
	})
}
