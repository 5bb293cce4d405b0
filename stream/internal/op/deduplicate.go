package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// Deduplicate lets the first record of a key and id through, and leaves out others of it that are no more than within
// milliseconds away from it, or, where duplicates extend that, from any of them. What comes more than that behind the
// newest record goes through: older ids are forgotten. So does what has no id.
func Deduplicate[K, V, I any](
	st state.Buffer[Pair[K, I], bool], id func(*topology.Call, K, V) (I, error), within int64, extends bool,
) topology.Make {
	seesNull, nullID := serde.IsNilable[V](), serde.NullOf[I]()
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V]) (topology.Port[K, V], error) {
		seen, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		seen.KeepUntilExpired()
		time := ownTime(in, st.Name(), 0)
		expire := func() {
			if now := in.Upto(*time); now != topology.Unknown {
				seen.Expire(now - 2*within)
			}
		}
		expire()
		in.TimeMoved = func() error {
			expire()
			return nil
		}
		return func(r *topology.Record[K, V]) (err error) {
			in.Enter()
			switch {
			case r.NullKey:
				in.Drop(topology.NullKey)
				return nil
			case r.NullValue && !seesNull:
				in.Drop(topology.NullValue)
				return nil
			}
			*time = max(*time, r.Timestamp)
			expire()
			key := Pair[K, I]{Key: r.Key}
			if key.Within, err = id(in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value); err != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, err)
			}
			if r.Timestamp >= in.Upto(*time)-within && (nullID == nil || !nullID(&key.Within)) {
				duplicate, err := seen.Has(key, r.Timestamp-within, r.Timestamp+within)
				known := duplicate
				if duplicate && extends && err == nil {
					known, err = seen.Has(key, r.Timestamp, r.Timestamp)
				}
				if err != nil {
					return in.Fail(r.Timestamp, err)
				}
				if !known {
					if err := seen.Add(key, true, r.Timestamp); err != nil {
						return in.Fail(r.Timestamp, err)
					}
				}
				if duplicate {
					in.Drop(topology.Duplicate)
					return nil
				}
			}
			return next(r)
		}, nil
	})
}
