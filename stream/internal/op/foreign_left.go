package op

import (
	"bytes"

	"thalweg/serde"
	"thalweg/topology"
)

// rowHash tells rows apart. A subscription may be older than the process, so it is the hash of Kafka Streams.
func rowHash[V any](s serde.Serde[V], scratch []byte, row V) (h [16]byte, out []byte, err error) {
	if scratch, err = s.Append(scratch[:0], row); err != nil {
		return h, scratch, err
	}
	return murmur128(scratch), scratch, nil
}

// ForeignLeft is the left side of a join by a foreign key.
type ForeignLeft[K, V, FK any] struct {
	Name string // of the join
	// Foreign answers false for a row that names no key.
	Foreign     func(*topology.Call, K, V) (FK, bool, error)
	Left        bool
	Keys        serde.Serde[K]
	Values      serde.Serde[V]
	ForeignKeys serde.Serde[FK]
}

// subscriberOf is what the two nodes of the left side share in a task.
func subscriberOf[K, V, FK any](c ForeignLeft[K, V, FK], e *topology.Env) *subscribe[K, V, FK] {
	return topology.Shared(e, "foreign-key join "+c.Name, func() *subscribe[K, V, FK] {
		s := &subscribe[K, V, FK]{keys: serde.Local(c.Keys), values: serde.Local(c.Values),
			foreignKeys: serde.Local(c.ForeignKeys), null: serde.NullOf[FK]()}
		s.notify = func(was *FK, is *FK, hasRow bool) error { return innerSubscribe(s, was, is, hasRow) }
		if c.Left {
			s.notify = func(was *FK, is *FK, a2 bool) error { return leftSubscribe(s, was, is, a2) }
		}
		return s
	})
}

// foreignKeysOf are the keys that rows name. A row for which Foreign fails names none.
func foreignKeysOf[K, V, FK any](
	c ForeignLeft[K, V, FK], in *topology.Instance,
) *perRow[K, V, Pair[FK, bool]] {
	return newPerRow(in, func(call *topology.Call, k K, v V) (p Pair[FK, bool], err error) {
		p.Key, p.Within, err = c.Foreign(call, k, v)
		return p, err
	})
}

// Subscribe sends the subscriptions of a left table's rows.
func Subscribe[K, V, FK any](c ForeignLeft[K, V, FK]) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[FK, Subscription],
	) (topology.Port[K, topology.Change[V]], error) {
		s := subscriberOf(c, in.Env)
		s.in, s.next = in, next
		s.rows = foreignKeysOf(c, in)
		return func(r *topology.Record[K, topology.Change[V]]) error { return receiveSubscribe(s, r) }, nil
	})
}

type subscribe[K, V, FK any] struct {
	in          *topology.Instance
	rows        *perRow[K, V, Pair[FK, bool]]
	keys        serde.Serde[K]
	values      serde.Serde[V]
	foreignKeys serde.Serde[FK]
	null        func(*FK) bool
	notify      func(was, is *FK, hasRow bool) error
	next        topology.Port[FK, Subscription]
	out         topology.Record[FK, Subscription]

	was, is                FK // slots
	wasBytes, isBytes, row []byte
}

func receiveSubscribe[K, V, FK any](s *subscribe[K, V, FK], r *topology.Record[K, topology.Change[V]]) (err error) {
	s.in.Enter()
	if r.Value.Stale {
		s.in.Drop(topology.Stale)
		return nil
	}
	c := &r.Value
	if !c.HasOld && !c.HasNew {
		return nil
	}
	s.in.CallAt(r.Timestamp, r.Headers)
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
	is, err := namesSubscribe(s, s.rows, &s.is, r.Key, c.New, c.HasNew)
	if err != nil {
		return err
	}
	was, err := namesSubscribe(s, s.rows, &s.was, r.Key, c.Old, c.HasOld)
	if err != nil {
		return err
	}
	return s.notify(was, is, c.HasNew)
}

// askSubscribe has the row that has the hash and names the key answered once more.
func askSubscribe[K, V, FK any](
	s *subscribe[K, V, FK], fk *FK, key K, hash [16]byte, ts int64, headers []topology.Header,
) (err error) {
	s.in.Resume()
	o := &s.out.Value
	if o.Key, err = s.keys.Append(nil, key); err != nil {
		return s.in.Error(topology.PhaseEncode, ts, err)
	}
	o.Hash, o.HasHash, o.Partition = hash, true, s.in.Env.Partition
	s.out.Timestamp, s.out.Headers = ts, headers
	return sendSubscribe(s, fk, Ask)
}

// namesSubscribe is the key that a row names, in its slot; nil: none.
func namesSubscribe[K, V, FK any](
	s *subscribe[K, V, FK], rows *perRow[K, V, Pair[FK, bool]], slot *FK, key K, row V, has bool,
) (*FK, error) {
	if !has {
		return nil, nil
	}
	p, ok, err := ofPerRow(rows, key, row)
	if *slot = p.Key; !ok || !p.Within || s.null != nil && s.null(slot) {
		return nil, err
	}
	return slot, nil
}

// leftSubscribe subscribes for every row, also where it names no key: then under the null key.
func leftSubscribe[K, V, FK any](s *subscribe[K, V, FK], was, is *FK, _ bool) error {
	if was != nil {
		same, err := sameSubscribe(s, was, is)
		if err != nil {
			return err
		}
		if !same {
			if err := sendSubscribe(s, was, Unsubscribe); err != nil {
				return err
			}
		}
	}
	return sendSubscribe(s, is, TellAlways)
}

// innerSubscribe subscribes for the rows that name a key. A row that changes its key hears even that there is nothing:
// the joined row must go. A row that names none is counted.
func innerSubscribe[K, V, FK any](s *subscribe[K, V, FK], was, is *FK, hasRow bool) error {
	if hasRow && is == nil {
		s.in.Drop(topology.NullKey)
	}
	switch {
	case was == nil && is == nil:
		return nil
	case was == nil:
		return sendSubscribe(s, is, TellIfThere)
	case is == nil:
		return sendSubscribe(s, was, UnsubscribeAndTell)
	}
	same, err := sameSubscribe(s, was, is)
	if err != nil {
		return err
	}
	if same {
		return sendSubscribe(s, is, TellIfThere)
	}
	if err := sendSubscribe(s, was, Leave); err != nil {
		return err
	}
	return sendSubscribe(s, is, TellAlways)
}

func sameSubscribe[K, V, FK any](s *subscribe[K, V, FK], was, is *FK) (bool, error) {
	if is == nil {
		return false, nil
	}
	var err error
	if s.wasBytes, err = s.foreignKeys.Append(s.wasBytes[:0], *was); err == nil {
		s.isBytes, err = s.foreignKeys.Append(s.isBytes[:0], *is)
	}
	return bytes.Equal(s.wasBytes, s.isBytes), s.in.Error(topology.PhaseEncode, s.out.Timestamp, err)
}

func sendSubscribe[K, V, FK any](s *subscribe[K, V, FK], fk *FK, i Instruction) error {
	s.out.NullKey = fk == nil
	if s.out.Key = *new(FK); fk != nil {
		s.out.Key = *fk
	}
	s.out.Value.Instruction = i
	return s.next(&s.out)
}

// JoinResponse joins a response with the left row that it is for, if that is still the one. f gets nil where there is
// no right row.
func JoinResponse[K, V, FK, FV, R any](
	c ForeignLeft[K, V, FK], table View[K, V], f func(*topology.Call, K, V, *FV) (R, error),
) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, R],
	) (topology.Port[K, Response[FV]], error) {
		get, err := table(in)
		j := &joinResponse[K, V, FK, FV, R]{in: in, get: get, left: c.Left, subscriber: subscriberOf(c, in.Env),
			foreignKeys: foreignKeysOf(c, in), null: serde.NullOf[R](), next: next}
		j.rows = newPerRow(in, func(c *topology.Call, k K, s sides[V, FV]) (R, error) { return f(c, k, *s.own, s.other) })
		return func(r *topology.Record[K, Response[FV]]) error { return receiveResponse(j, r) }, err
	})
}

type joinResponse[K, V, FK, FV, R any] struct {
	in          *topology.Instance
	get         Get[K, V]
	left        bool
	subscriber  *subscribe[K, V, FK]
	rows        *perRow[K, sides[V, FV], R]
	foreignKeys *perRow[K, V, Pair[FK, bool]]
	null        func(*R) bool
	next        topology.Port[K, R]
	out         topology.Record[K, R]
	own         V // slots that f's pointers point to
	right       FV
	foreign     FK // slot
	scratch     []byte
}

func receiveResponse[K, V, FK, FV, R any](j *joinResponse[K, V, FK, FV, R], r *topology.Record[K, Response[FV]]) error {
	j.in.Enter()
	j.in.CallAt(r.Timestamp, r.Headers)
	a := &r.Value
	l := Lookup{State: LastEmitted}
	if a.HasHash && (j.left || a.Says == ARow) {
		l.State = LastEmittedUnchanged
	}
	f, err := j.get(r.Key, l)
	if err != nil {
		return j.in.Fail(r.Timestamp, err)
	}
	if f.changed {
		j.in.Drop(topology.Stale)
		return nil
	}
	row, rowTime, has := f.row, f.timestamp, f.ok
	holds, err := holdsResponse(j, r, row, rowTime, has)
	if err != nil || !holds {
		return err
	}
	j.out.Key, j.out.Timestamp, j.out.Headers = r.Key, r.Timestamp, r.Headers
	j.out.Value, j.out.NullValue = *new(R), true
	if has && (a.Says == ARow || j.left) {
		var fv *FV
		if j.right = a.Row; a.Says == ARow {
			fv = &j.right
		}
		var ok bool
		j.own = row
		if j.out.Value, ok, err = ofPerRow(j.rows, r.Key, sides[V, FV]{&j.own, fv}); err != nil {
			return err
		}
		j.out.NullValue = !ok || j.null != nil && j.null(&j.out.Value)
	}
	return j.next(&j.out)
}

// holdsResponse tells whether a response holds for the row that there is. What does not is counted, but for answers
// that only guard against older ones.
func holdsResponse[K, V, FK, FV, R any](
	j *joinResponse[K, V, FK, FV, R], r *topology.Record[K, Response[FV]], row V, rowTime int64, has bool,
) (holds bool, err error) {
	a := &r.Value
	var hash [16]byte
	if has && a.Says != Left {
		if hash, j.scratch, err = rowHash(j.subscriber.values, j.scratch, row); err != nil {
			return false, j.in.Error(topology.PhaseEncode, r.Timestamp, err)
		}
	}
	switch {
	case a.Says == Left:
		same, _, err := namesResponse(j, r, row, has)
		return same, err
	case has == a.HasHash && hash == a.Hash:
		return true, nil
	case !j.left && a.Says != ARow:
		same, is, err := namesResponse(j, r, row, has)
		switch {
		case err != nil:
			return false, err
		case same, is == nil && a.Says == Gone: // two rows in a row that name no key: nothing changes
			return true, nil
		case a.Says == Gone:
			err = askSubscribe(j.subscriber, is, r.Key, hash, max(r.Timestamp, rowTime), r.Headers)
			j.in.Resume()
			if err != nil {
				return false, err
			}
		}
	}
	j.in.Drop(topology.Stale)
	return false, nil
}

// namesResponse tells whether the row names the key that a response is about, and which it names; nil: none.
func namesResponse[K, V, FK, FV, R any](
	j *joinResponse[K, V, FK, FV, R], r *topology.Record[K, Response[FV]], row V, has bool,
) (same bool, is *FK, err error) {
	if is, err = namesSubscribe(j.subscriber, j.foreignKeys, &j.foreign, r.Key, row, has); err != nil || is == nil {
		return false, nil, err
	}
	if j.scratch, err = j.subscriber.foreignKeys.Append(j.scratch[:0], *is); err != nil {
		return false, nil, j.in.Error(topology.PhaseEncode, r.Timestamp, err)
	}
	return bytes.Equal(j.scratch, r.Value.Foreign), is, nil
}
