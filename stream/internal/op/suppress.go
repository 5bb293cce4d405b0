package op

import (
	"bytes"
	"cmp"
	"fmt"
	"math"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// SuppressConfig is a suppression: changes are held back, of each row the newest, until their time has come.
type SuppressConfig[K, V any] struct {
	Store      state.KV[K, Buffered[V]]
	TimeOf     func(key K, timestamp int64) int64 // what the time of a row counts from
	Delay      int64                              // milliseconds of stream time from then on
	RecordsMax int                                // rows held back at the same time; 0: no limit
	BytesMax   int64                              // of keys and rows held back; 0: no limit
	EmitEarly  bool                               // a full buffer emits its oldest rows; otherwise it stops the task
	Deletions  bool                               // deletions are emitted; windows that close have none
	Old        *bool
}

// Suppress holds changes back. The time of a row counts from the first change that is held. The newest change is
// emitted, with its timestamp and headers, and with the row that was emitted before.
func Suppress[K, V any](c SuppressConfig[K, V]) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[V]],
	) (topology.Port[K, topology.Change[V]], error) {
		store, err := c.Store.Open(in)
		if err != nil {
			return nil, err
		}
		s := &suppress[K, V]{in: in, c: c, store: store, next: next, time: ownTime(in, c.Store.Name(), 0), old: *c.Old,
			keys: serde.Local(c.Store.KeySerde()), values: serde.Local(c.Store.ValueSerde())}
		s.waiting.most, s.waiting.look = agendaRowsMax, func(_ wait, list func(wait) bool) error {
			return eachSuppress(s, func(w wait, _ Buffered[V]) error {
				list(w)
				return nil
			})
		}
		if err := eachSuppress(s, func(w wait, b Buffered[V]) error {
			size, err := sizeSuppress(s, w.bytes, b)
			s.bytes += size
			s.waiting.add(w)
			return err
		}); err != nil {
			return nil, err
		}
		in.TimeMoved = func() error { return letGoDueSuppress(s) }
		return func(r *topology.Record[K, topology.Change[V]]) error { return receiveSuppress(s, r) }, nil
	})
}

type suppress[K, V any] struct {
	in     *topology.Instance
	c      SuppressConfig[K, V]
	store  *state.KVStore[K, Buffered[V]]
	keys   serde.Serde[K]
	values serde.Serde[Buffered[V]]
	next   topology.Port[K, topology.Change[V]]
	time   *int64 // highest timestamp seen
	old    bool

	waiting agenda // the order in which rows are emitted; the store has the rows
	bytes   int64  // held back, where there is a limit
	out     topology.Record[K, topology.Change[V]]
	scratch []byte
}

// eachSuppress calls f for each row that is held back.
func eachSuppress[K, V any](s *suppress[K, V], f func(wait, Buffered[V]) error) error {
	for e, err := range s.store.All() {
		if err != nil {
			return err
		}
		key, err := s.keys.Append(nil, e.Key)
		if err == nil {
			err = f(wait{time: e.Value.Time, bytes: key}, e.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func receiveSuppress[K, V any](s *suppress[K, V], r *topology.Record[K, topology.Change[V]]) error {
	s.in.Enter()
	*s.time = max(*s.time, r.Timestamp)
	if err := holdSuppress(s, r); err != nil {
		return s.in.Fail(r.Timestamp, err)
	}
	if err := letGoDueSuppress(s); err != nil {
		return err
	}
	for fullSuppress(s) {
		if !s.c.EmitEarly {
			return s.in.Fail(r.Timestamp, fmt.Errorf("suppress: the buffer is full: %d rows, %d bytes are held back: "+
				"give it more room, or less grace", s.waiting.count, s.bytes))
		}
		if more, err := letGoSuppress(s, math.MaxInt64); !more || err != nil {
			return err
		}
	}
	return nil
}

// letGoDueSuppress sends on the rows whose time has come.
func letGoDueSuppress[K, V any](s *suppress[K, V]) (err error) {
	for more := true; more && err == nil; {
		more, err = letGoSuppress(s, s.in.Upto(*s.time)-s.c.Delay)
	}
	return err
}

func fullSuppress[K, V any](s *suppress[K, V]) bool {
	return s.c.RecordsMax > 0 && s.waiting.count > s.c.RecordsMax || s.c.BytesMax > 0 && s.bytes > s.c.BytesMax
}

func holdSuppress[K, V any](s *suppress[K, V], r *topology.Record[K, topology.Change[V]]) error {
	row, err := s.store.Find(r.Key)
	if err != nil {
		return err
	}
	b, _, held, err := s.store.Value(row)
	if err != nil {
		return err
	}
	if !held {
		b = Buffered[V]{Time: s.c.TimeOf(r.Key, r.Timestamp), Prior: r.Value.Old, HasPrior: r.Value.HasOld}
		key, err := s.keys.Append(nil, r.Key)
		if err != nil {
			return err
		}
		s.waiting.add(wait{time: b.Time, bytes: key})
	}
	if s.c.BytesMax > 0 {
		if err := weighSuppress(s, r.Key, b, held, -1); err != nil {
			return err
		}
	}
	b.New, b.HasNew, b.Timestamp, b.Headers = r.Value.New, r.Value.HasNew, r.Timestamp, r.Headers
	b.Origin = origin(s.in)
	if s.c.BytesMax > 0 {
		if err := weighSuppress(s, r.Key, b, true, 1); err != nil {
			return err
		}
	}
	return s.store.Set(row, b, r.Timestamp)
}

// weighSuppress adds the size of a row to what is held, sign times.
func weighSuppress[K, V any](s *suppress[K, V], key K, b Buffered[V], held bool, sign int64) (err error) {
	if !held {
		return nil
	}
	if s.scratch, err = s.keys.Append(s.scratch[:0], key); err != nil {
		return err
	}
	size, err := sizeSuppress(s, s.scratch, b)
	s.bytes += sign * size
	return err
}

func sizeSuppress[K, V any](s *suppress[K, V], key []byte, b Buffered[V]) (int64, error) {
	if s.c.BytesMax == 0 {
		return 0, nil
	}
	value, err := s.values.Append(nil, b)
	return int64(len(key) + len(value)), err
}

// letGoSuppress sends the first row on, unless it waits until after a time. It tells whether there was one.
func letGoSuppress[K, V any](s *suppress[K, V], until int64) (more bool, err error) {
	first, more, err := s.waiting.take(until)
	if err != nil {
		return false, s.in.Fail(*s.time, err)
	}
	if !more {
		return false, nil
	}
	key, err := s.keys.Decode(first.bytes)
	if err != nil {
		return false, s.in.Fail(*s.time, err)
	}
	row, err := s.store.Find(key)
	if err != nil {
		return false, s.in.Fail(*s.time, err)
	}
	b, _, _, err := s.store.Value(row)
	if err == nil && s.c.BytesMax > 0 {
		err = weighSuppress(s, key, b, true, -1)
	}
	if err == nil {
		err = s.store.Remove(row, b.Timestamp)
	}
	if err != nil {
		return false, s.in.Fail(*s.time, err)
	}
	if !b.HasNew && !s.c.Deletions {
		return true, nil
	}
	s.out.Key, s.out.Timestamp, s.out.Headers = key, b.Timestamp, b.Headers
	c := &s.out.Value
	c.New, c.HasNew = b.New, b.HasNew
	c.Old, c.HasOld = b.Prior, b.HasPrior && s.old
	err = s.next(&s.out)
	s.in.Resume()
	return true, err
}

// SuppressedView reads a table as it was emitted: for a row that is held back, the row that was emitted before.
func SuppressedView[K, V any](parent View[K, V], st state.KV[K, Buffered[V]]) View[K, V] {
	return func(in *topology.Instance) (Get[K, V], error) {
		get, err := parent(in)
		if err != nil {
			return nil, err
		}
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		return func(key K, l Lookup) (found[V], error) {
			b, _, held, err := store.Get(key)
			if err != nil || held {
				return found[V]{row: b.Prior, timestamp: topology.Unknown, ok: b.HasPrior}, err
			}
			if l.State == LastEmittedUnchanged { // the change that the parent emits is held back here
				l.State = LastEmitted
			}
			return get(key, l)
		}, nil
	}
}

// waits is a row that is held back.
type waits[K any] struct {
	time  int64
	bytes []byte // the key encoded, for the order of rows of a time
	key   K
}

func beforeWaits[K any](w, o waits[K]) bool {
	return compareWaits(w, o) < 0
}

func compareWaits[K any](w, o waits[K]) int {
	if c := cmp.Compare(w.time, o.time); c != 0 {
		return c
	}
	return bytes.Compare(w.bytes, o.bytes)
}

// queue is a binary heap: the first to go is at 0.
type queue[K any] []waits[K]

func pushQueue[K any](q *queue[K], w waits[K]) {
	*q = append(*q, w)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !beforeWaits(h[i], h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func popQueue[K any](q *queue[K]) waits[K] {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], waits[K]{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(h) && beforeWaits(h[c], h[least]) {
				least = c
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
