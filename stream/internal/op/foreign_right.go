package op

import (
	"bytes"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// ForeignConfig is the right side of a join by a foreign key.
type ForeignConfig[K, FK, FV any] struct {
	Store       state.KV[[]byte, Subscription] // under subscriptionKey
	Keys        serde.Serde[K]
	ForeignKeys serde.Serde[FK]
	Table       View[FK, FV]
}

// Subscribed keeps the subscriptions and answers each with the right row that there is.
func Subscribed[K, FK, FV any](c ForeignConfig[K, FK, FV]) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, Response[FV]],
	) (topology.Port[FK, Subscription], error) {
		store, err := c.Store.Open(in)
		if err != nil {
			return nil, err
		}
		in.Announce(c.ForeignKeys, store.PrefetcherOf(subscriptionOf))
		get, err := c.Table(in)
		if err != nil {
			return nil, err
		}
		s := &subscribed[K, FK, FV]{in: in, c: c, keys: serde.Local(c.Keys), foreignKeys: serde.Local(c.ForeignKeys),
			store: store, rows: reading(in, get, Lookup{State: LastEmitted}), next: next}
		return func(r *topology.Record[FK, Subscription]) error { return receiveSubscribed(s, r) }, nil
	})
}

type subscribed[K, FK, FV any] struct {
	in          *topology.Instance
	c           ForeignConfig[K, FK, FV]
	keys        serde.Serde[K]
	foreignKeys serde.Serde[FK]
	store       *state.KVStore[[]byte, Subscription]
	rows        *perRow[FK, struct{}, found[FV]]
	next        topology.Port[K, Response[FV]]
	out         topology.Record[K, Response[FV]]
	foreign     []byte
	key         []byte
}

func receiveSubscribed[K, FK, FV any](s *subscribed[K, FK, FV], r *topology.Record[FK, Subscription]) (err error) {
	s.in.Enter()
	s.in.CallAt(r.Timestamp, r.Headers) // of the functions through which the table is read
	sub := &r.Value
	if r.NullValue || r.NullKey && sub.Instruction != TellAlways {
		s.in.Drop(topology.NullKey)
		return nil
	}
	ts := r.Timestamp
	o := &s.out.Value
	o.Hash, o.HasHash, o.Partition = sub.Hash, sub.HasHash, sub.Partition
	o.Says, o.Row, o.Foreign = NoRow, *new(FV), nil
	if r.NullKey {
		return answerSubscribed(s, r, ts)
	}
	if err := keepSubscribed(s, r); err != nil {
		return s.in.Fail(ts, err)
	}
	o.Foreign = s.foreign
	switch sub.Instruction {
	case Unsubscribe:
		return nil
	case Leave:
		o.Says, o.HasHash = Left, false
		return answerSubscribed(s, r, ts)
	}
	right, _, err := ofPerRow(s.rows, r.Key, struct{}{})
	if err != nil {
		return err
	}
	if right.ok {
		ts = max(ts, right.timestamp)
	}
	switch {
	case sub.Instruction == UnsubscribeAndTell:
		o.Says = Gone
	case right.ok:
		o.Says, o.Row = ARow, right.row
	case sub.Instruction == TellIfThere:
		return nil
	}
	return answerSubscribed(s, r, ts)
}

// answerSubscribed sends the response to a subscription.
func answerSubscribed[K, FK, FV any](
	s *subscribed[K, FK, FV], r *topology.Record[FK, Subscription], ts int64) (err error,
) {
	if s.out.Key, err = s.keys.Decode(r.Value.Key); err != nil {
		return s.in.Error(topology.PhaseDecode, ts, err)
	}
	s.out.Timestamp, s.out.Headers = ts, r.Headers
	return s.next(&s.out)
}

func keepSubscribed[K, FK, FV any](s *subscribed[K, FK, FV], r *topology.Record[FK, Subscription]) (err error) {
	if s.foreign, err = s.foreignKeys.Append(s.foreign[:0], r.Key); err != nil {
		return err
	}
	s.key = subscriptionKey(s.key[:0], s.foreign, r.Value.Key)
	switch r.Value.Instruction {
	case Ask:
		return nil
	case Unsubscribe, UnsubscribeAndTell, Leave:
		return s.store.Delete(s.key, r.Timestamp)
	}
	return s.store.Put(s.key, r.Value, r.Timestamp)
}

// TellSubscribers answers every subscription to a right row that has changed.
func TellSubscribers[K, FK, FV any](c ForeignConfig[K, FK, FV]) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, Response[FV]],
	) (topology.Port[FK, topology.Change[FV]], error) {
		store, err := c.Store.Open(in)
		if err != nil {
			return nil, err
		}
		var (
			out             topology.Record[K, Response[FV]]
			foreign, prefix []byte
			found           []state.Entry[[]byte, Subscription]
			keys            = serde.Local(c.Keys)
			foreignKeys     = serde.Local(c.ForeignKeys)
		)
		return func(r *topology.Record[FK, topology.Change[FV]]) (err error) {
			in.Enter()
			if r.Value.Stale {
				in.Drop(topology.Stale)
				return nil
			}
			if foreign, err = foreignKeys.Append(foreign[:0], r.Key); err != nil {
				return in.Error(topology.PhaseEncode, r.Timestamp, err)
			}
			o := &out.Value
			if o.Says, o.Row, o.Foreign = NoRow, r.Value.New, foreign; r.Value.HasNew {
				o.Says = ARow
			}
			out.Headers = r.Headers
			prefix = subscriptionKey(prefix[:0], foreign, nil)
			for from := prefix; from != nil; {
				if found, from, err = pageOfSubscribers(store, prefix, from, found[:0]); err != nil {
					return in.Fail(r.Timestamp, err)
				}
				for i := range found {
					sub := &found[i].Value
					if out.Key, err = keys.Decode(sub.Key); err != nil {
						return in.Error(topology.PhaseDecode, r.Timestamp, err)
					}
					out.Timestamp = r.Timestamp
					o.Hash, o.HasHash, o.Partition = sub.Hash, sub.HasHash, sub.Partition
					if err := next(&out); err != nil {
						return err
					}
				}
			}
			return nil
		}, nil
	})
}

// subscribersMax is how many subscribers to a row are held in memory at the same time.
const subscribersMax = 1024

// pageOfSubscribers appends the subscriptions under a prefix from a key on, up to subscribersMax. It returns the key of
// the next page, or nil after the last.
func pageOfSubscribers(
	store *state.KVStore[[]byte, Subscription], prefix, from []byte, found []state.Entry[[]byte, Subscription],
) (_ []state.Entry[[]byte, Subscription], next []byte, err error) {
	for e, err := range store.RangeBytes(from, nil, false) {
		if err != nil {
			return nil, nil, err
		}
		if !bytes.HasPrefix(e.Key, prefix) {
			break
		}
		if len(found) == subscribersMax {
			return found, bytes.Clone(e.Key), nil
		}
		found = append(found, e)
	}
	return found, nil, nil
}
