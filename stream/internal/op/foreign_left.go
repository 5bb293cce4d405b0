package op

import (
	"bytes"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// rowHash tells rows apart. A subscription may be older than the process, so it is the hash of Kafka Streams.
func rowHash[V any](s serde.Serde[V], scratch []byte, row V) (h [16]byte, out []byte, err error) {
	if scratch, err = s.Append(scratch[:0], row); err != nil {
		return h, scratch, err
	}
	return murmur128(scratch), scratch, nil
}

// Subscribe sends the subscriptions of a left table's rows. foreign answers false for a row that names no key.
func Subscribe[K, V, FK any](
	foreign func(K, V) (FK, bool), left bool, keys serde.Serde[K], values serde.Serde[V], foreignKeys serde.Serde[FK],
) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[FK, Subscription],
	) (topology.Port[K, topology.Change[V]], error) {
		s := &subscribe[K, V, FK]{in: in, foreign: foreign, next: next, keys: serde.Local(keys),
			values: serde.Local(values), foreignKeys: serde.Local(foreignKeys), null: serde.NullOf[FK]()}
		s.tell = s.inner
		if left {
			s.tell = s.left
		}
		return s.receive, nil
	})
}

type subscribe[K, V, FK any] struct {
	in          *topology.Instance
	foreign     func(K, V) (FK, bool)
	keys        serde.Serde[K]
	values      serde.Serde[V]
	foreignKeys serde.Serde[FK]
	null        func(*FK) bool
	tell        func(was, is *FK, hasRow bool) error
	next        topology.Port[FK, Subscription]
	out         topology.Record[FK, Subscription]

	was, is                FK // slots
	wasBytes, isBytes, row []byte
}

func (s *subscribe[K, V, FK]) receive(r *topology.Record[K, topology.Change[V]]) (err error) {
	s.in.Enter()
	if r.Value.Stale {
		s.in.Drop(topology.Stale)
		return nil
	}
	c := &r.Value
	if !c.HasOld && !c.HasNew {
		return nil
	}
	o := &s.out.Value
	if o.Key, err = s.keys.Append(nil, r.Key); err != nil {
		return s.in.Error(topology.PhaseEncode, r.Timestamp, err)
	}
	if o.HasHash = c.HasNew; o.HasHash {
		if o.Hash, s.row, err = rowHash(s.values, s.row, c.New); err != nil {
			return s.in.Error(topology.PhaseEncode, r.Timestamp, err)
		}
	}
	o.Partition = s.in.Env.Partition
	s.out.Timestamp, s.out.Headers = r.Timestamp, r.Headers
	var was, is *FK
	if c.HasOld {
		was = s.extract(&s.was, r.Key, c.Old)
	}
	if c.HasNew {
		is = s.extract(&s.is, r.Key, c.New)
	}
	return s.tell(was, is, c.HasNew)
}

func (s *subscribe[K, V, FK]) extract(slot *FK, key K, row V) *FK {
	fk, ok := s.foreign(key, row)
	if *slot = fk; !ok || s.null != nil && s.null(slot) {
		return nil
	}
	return slot
}

// left tells of every row, also where it names no key: then under the null key.
func (s *subscribe[K, V, FK]) left(was, is *FK, _ bool) error {
	if was != nil {
		same, err := s.same(was, is)
		if err != nil {
			return err
		}
		if !same {
			if err := s.send(was, Unsubscribe); err != nil {
				return err
			}
		}
	}
	return s.send(is, TellAlways)
}

// inner tells of rows that name a key. A row that changes its key is told even that there is nothing: the joined row
// must go. A row that names none is counted.
func (s *subscribe[K, V, FK]) inner(was, is *FK, hasRow bool) error {
	if hasRow && is == nil {
		s.in.Drop(topology.NullKey)
	}
	switch {
	case was == nil && is == nil:
		return nil
	case was == nil:
		return s.send(is, TellIfThere)
	case is == nil:
		return s.send(was, UnsubscribeAndTell)
	}
	same, err := s.same(was, is)
	if err != nil {
		return err
	}
	if same {
		return s.send(is, TellIfThere)
	}
	if err := s.send(was, Unsubscribe); err != nil {
		return err
	}
	return s.send(is, TellAlways)
}

func (s *subscribe[K, V, FK]) same(was, is *FK) (bool, error) {
	if is == nil {
		return false, nil
	}
	var err error
	if s.wasBytes, err = s.foreignKeys.Append(s.wasBytes[:0], *was); err == nil {
		s.isBytes, err = s.foreignKeys.Append(s.isBytes[:0], *is)
	}
	return bytes.Equal(s.wasBytes, s.isBytes), s.in.Error(topology.PhaseEncode, s.out.Timestamp, err)
}

func (s *subscribe[K, V, FK]) send(fk *FK, i Instruction) error {
	s.out.NullKey = fk == nil
	if s.out.Key = *new(FK); fk != nil {
		s.out.Key = *fk
	}
	s.out.Value.Instruction = i
	return s.next(&s.out)
}

// JoinResponse joins a response with the left row that it is for, if that is still the one. f gets nil where there is
// no right row. foreign and foreignKeys are those of Subscribe.
func JoinResponse[K, V, FK, FV, R any](
	table View[K, V], left bool, values serde.Serde[V], foreign func(K, V) (FK, bool), foreignKeys serde.Serde[FK],
	f func(V, *FV) R,
) topology.Make {
	null := serde.NullOf[R]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, R],
	) (topology.Port[K, Response[FV]], error) {
		get, err := table(in)
		if err != nil {
			return nil, err
		}
		var (
			out     topology.Record[K, R]
			right   FV
			scratch []byte
		)
		values, foreignKeys := serde.Local(values), serde.Local(foreignKeys)
		// settled tells that what is told of an older row is so for this one: it names the same key.
		settled := func(key K, row V, r *Response[FV]) (same bool, err error) {
			if left || r.HasRow {
				return false, nil
			}
			fk, ok := foreign(key, row)
			if !ok {
				return false, nil
			}
			scratch, err = foreignKeys.Append(scratch[:0], fk)
			return bytes.Equal(scratch, r.Foreign), err
		}
		return func(r *topology.Record[K, Response[FV]]) error {
			in.Enter()
			row, _, has, err := get(r.Key, state.Latest)
			if err != nil {
				return in.Fail(r.Timestamp, err)
			}
			var hash [16]byte
			if has {
				if hash, scratch, err = rowHash(values, scratch, row); err != nil {
					return in.Error(topology.PhaseEncode, r.Timestamp, err)
				}
			}
			holds := has == r.Value.HasHash && hash == r.Value.Hash
			if !holds && has {
				if holds, err = settled(r.Key, row, &r.Value); err != nil {
					return in.Error(topology.PhaseEncode, r.Timestamp, err)
				}
			}
			if !holds {
				in.Drop(topology.Stale)
				return nil
			}
			out.Key, out.Timestamp, out.Headers = r.Key, r.Timestamp, r.Headers
			out.Value, out.NullValue = *new(R), true
			if has && (r.Value.HasRow || left) {
				var fv *FV
				if right = r.Value.Row; r.Value.HasRow {
					fv = &right
				}
				out.Value = f(row, fv)
				out.NullValue = null != nil && null(&out.Value)
			}
			return next(&out)
		}, nil
	})
}
