package op

import (
	"fmt"
	"math"

	"thalweg/internal/invariant"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// StreamJoin is a join of two streams: a left record at t meets the right records in [t-Before, t+After]. All times are
// milliseconds.
//
// Each side keeps its records in a buffer and looks into the other's. A record without a match that must be emitted
// alone is held until its window closes; a match drops what was held of the other side.
type StreamJoin[K, V, O, R any] struct {
	Before, After, Grace int64
	Left                 state.Buffer[K, V]
	Right                state.Buffer[K, O]
	Unmatched            state.Session[UnmatchedKey[K], Unmatched[V, O]] // records that met nothing yet
	KeepLeft, KeepRight  bool                                            // records that meet nothing are emitted alone
	RecordsMax           int                                             // of each side; more stop the task; 0: no limit
	// The bounds that a record sets to the times of those that it meets, in the window. nil: none.
	LeftBounds  *Bounds[V]
	RightBounds *Bounds[O]
	// F gets nil for a side without a record.
	F func(*topology.Call, K, *V, *O) (R, error)
}

// JoinLeft is the left side's node.
func JoinLeft[K, V, O, R any](j StreamJoin[K, V, O, R]) topology.Make {
	return joinSide(sideConfig[K, V, O, Unmatched[V, O], R]{
		own: j.Left, other: j.Right, held: j.Unmatched, holds: j.KeepLeft || j.KeepRight, keep: j.KeepLeft, left: true,
		before: j.Before, after: j.After, grace: j.Grace, lookLeft: j.After, lookRight: j.Before, f: j.F,
		recordsMax: j.RecordsMax,
		bounds:     j.LeftBounds, others: j.RightBounds,
		unmet: func(h *Unmatched[V, O], ts int64) bool {
			h.Right = j.RightBounds.Unmet(h.Right, ts)
			return len(h.Right) > 0
		},
		add:   func(h Unmatched[V, O], v V) Unmatched[V, O] { h.Left = append(h.Left, v); return h },
		count: countUnmatched[V, O],
		alone: func(c *topology.Call, key K, h *Unmatched[V, O], i int) (R, error) { return joinAlone(j, c, key, h, i) },
	})
}

// JoinRight is the right side's node.
func JoinRight[K, V, O, R any](j StreamJoin[K, V, O, R]) topology.Make {
	return joinSide(sideConfig[K, O, V, Unmatched[V, O], R]{
		own: j.Right, other: j.Left, held: j.Unmatched, holds: j.KeepLeft || j.KeepRight, keep: j.KeepRight,
		before: j.After, after: j.Before, grace: j.Grace, lookLeft: j.After, lookRight: j.Before,
		recordsMax: j.RecordsMax,
		bounds:     j.RightBounds, others: j.LeftBounds,
		unmet: func(h *Unmatched[V, O], ts int64) bool {
			h.Left = j.LeftBounds.Unmet(h.Left, ts)
			return len(h.Left) > 0
		},
		f:     func(c *topology.Call, k K, o *O, v *V) (R, error) { return j.F(c, k, v, o) },
		add:   func(h Unmatched[V, O], o O) Unmatched[V, O] { h.Right = append(h.Right, o); return h },
		count: countUnmatched[V, O],
		alone: func(c *topology.Call, key K, h *Unmatched[V, O], i int) (R, error) { return joinAlone(j, c, key, h, i) },
	})
}

// countUnmatched is how many records are held under a key.
func countUnmatched[V, O any](h *Unmatched[V, O]) int {
	return len(h.Left) + len(h.Right)
}

// joinAlone joins one of them with nothing.
func joinAlone[K, V, O, R any](
	j StreamJoin[K, V, O, R], c *topology.Call, key K, h *Unmatched[V, O], i int) (R, error,
) {
	if i < len(h.Left) {
		return j.F(c, key, &h.Left[i], nil)
	}
	return j.F(c, key, nil, &h.Right[i-len(h.Left)])
}

// sideConfig is one side of a join: V is its own value, O the other's, H what is held of both.
type sideConfig[K, V, O, H, R any] struct {
	own                  state.Buffer[K, V]
	other                state.Buffer[K, O]
	held                 state.Session[UnmatchedKey[K], H]
	holds                bool  // something is held, of whichever side
	keep, left           bool  // this side's records are emitted alone; it is the left one
	before, after, grace int64 // a record at t meets the other's in [t-before, t+after]
	recordsMax           int   // in the buffer; 0: no limit
	lookLeft, lookRight  int64 // how far ahead a held record of a side may still meet one
	f                    func(*topology.Call, K, *V, *O) (R, error)
	bounds               *Bounds[V] // the record's own; nil: none
	others               *Bounds[O] // of the records of the other side; nil: none
	unmet                func(h *H, ts int64) (some bool)
	add                  func(H, V) H
	count                func(*H) int
	alone                func(*topology.Call, K, *H, int) (R, error)
}

// joinTimes is what both sides know together.
type joinTimes struct {
	stream *int64 // highest timestamp of both
	least  *int64 // about the oldest held record, before which nothing is worth looking at; noneHeld, someHeld
}

const (
	noneHeld int64 = math.MaxInt64
	someHeld int64 = math.MinInt64 / 2 // nobody knows how old: far enough from the end for a window to be added
)

func joinSide[K, V, O, H, R any](c sideConfig[K, V, O, H, R]) topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, R]) (topology.Port[K, V], error) {
		s := &joinOf[K, V, O, H, R]{in: in, c: c, next: next, null: serde.NullOf[R]()}
		left, right := c.own.Name(), c.other.Name()
		if !c.left {
			left, right = right, left
		}
		s.times = topology.Shared(in.Env, "join "+left+" "+right, func() *joinTimes {
			return &joinTimes{stream: timeMark(in, left, 0), least: in.Mark(left + "/held")}
		})
		in.TimedBy(s.times.stream)
		if err := openJoin(s, left); err != nil {
			return nil, err
		}
		if c.holds {
			var err error
			if s.held, err = c.held.Open(in); err != nil {
				return nil, err
			}
			s.held.KeepUntilExpired()
			if err := startHeldJoin(s); err != nil {
				return nil, err
			}
		}
		s.own.KeepUntilExpired()
		expireJoin(s)
		in.TimeMoved = func() error {
			expireJoin(s)
			s.out.Headers = nil
			s.in.CallAt(s.in.Upto(*s.times.stream), nil)
			return releaseClosedJoin(s)
		}
		in.Announce(c.own.KeySerde(), state.Lines(func(keys [][]byte) { expectJoin(s, keys) }))
		s.joinHeld = func() (err error) {
			s.heldResult, err = c.alone(in.Call(), s.heldKey, &s.released, s.heldAt)
			return err
		}
		return func(r *topology.Record[K, V]) error { return receiveJoin(s, r) }, nil
	})
}

// startHeldJoin finds out whether anything is held, where no mark says so: the store may be one that Kafka Streams has
// left. What it finds is committed with the other marks, so that a restart changes nothing.
func startHeldJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R]) error {
	if *s.times.least != topology.Unknown {
		return nil
	}
	*s.times.least = noneHeld
	for _, err := range s.held.ByEnd(0, math.MaxInt64) {
		*s.times.least = someHeld
		return err
	}
	return nil
}

// openJoin opens the buffers. Both sides of a self join may share the left one: then the right side alone adds to it,
// before it looks, where two buffers would have had the record in the left one by then.
func openJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], left string) (err error) {
	s.retention = s.c.before + s.c.after + s.c.grace
	s.shared = len(s.in.Node.Stores) == 1
	if !s.shared {
		s.time = s.in.Mark(s.c.own.Name() + "/newest")
		if s.own, err = s.c.own.Open(s.in); err == nil {
			s.other, err = s.c.other.Open(s.in)
		}
		return err
	}
	s.time = s.in.Mark(left + "/newest")
	ok := false
	if s.c.left {
		if s.own, err = s.c.own.Open(s.in); err == nil {
			s.other, ok = any(s.own).(*state.BufferStore[K, O])
		}
	} else if s.other, err = s.c.other.Open(s.in); err == nil {
		s.own, ok = any(s.other).(*state.BufferStore[K, V])
	}
	invariant.Check(ok || err != nil, "the sides of a self join have equal types")
	return err
}

type joinOf[K, V, O, H, R any] struct {
	in        *topology.Instance
	c         sideConfig[K, V, O, H, R]
	own       *state.BufferStore[K, V]
	other     *state.BufferStore[K, O]
	held      *state.SessionStore[UnmatchedKey[K], H] // nil: nothing is held
	shared    bool                                    // own and other are one
	times     *joinTimes
	time      *int64 // highest timestamp in the own buffer
	retention int64
	null      func(*R) bool
	next      topology.Port[K, R]
	out       topology.Record[K, R]

	v       V // slots that f's pointers point to
	o       O
	results []R // of the record at hand, where they wait for one another

	heldKey    K
	heldTime   int64
	released   H // what is released, of heldKey
	heldAt     int
	heldResult R
	joinHeld   func() error // makes heldResult of one of it
}

// expectJoin has memory fetched for records that will come soon, whose times are about the stream's.
func expectJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], keys [][]byte) {
	now := *s.times.stream
	s.other.TouchFetch(keys, now-s.c.before, now+s.c.after)
	s.own.TouchAdd(keys, now)
}

func receiveJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], r *topology.Record[K, V]) error {
	s.in.Enter()
	*s.times.stream = max(*s.times.stream, r.Timestamp)
	s.out.Headers = r.Headers
	s.in.CallAt(r.Timestamp, r.Headers)
	switch {
	case r.NullValue:
		s.in.Drop(topology.NullValue)
		return nil
	case r.NullKey && s.c.keep:
		s.out.NullKey = true
		err := emitAloneJoin(s, r)
		s.out.NullKey = false
		return err
	case r.NullKey:
		s.in.Drop(topology.NullKey)
		return nil
	}
	if r.Timestamp == *s.times.stream {
		if err := releaseClosedJoin(s); err != nil {
			return err
		}
	}
	if s.shared && !s.c.left {
		if err := bufferJoin(s, r); err != nil {
			return err
		}
		_, err := meetJoin(s, r)
		return err
	}
	matched, err := meetJoin(s, r)
	if err != nil {
		return err
	}
	if s.c.keep && !matched {
		if err := aloneJoin(s, r); err != nil {
			return err
		}
	}
	return bufferJoin(s, r)
}

// aloneJoin emits a record that met nothing: at once where its window is over, otherwise when it closes.
func aloneJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], r *topology.Record[K, V]) error {
	if max(r.Timestamp+s.c.after, 0) < s.in.Upto(*s.times.stream) {
		return emitAloneJoin(s, r)
	}
	*s.times.least = min(*s.times.least, r.Timestamp)
	k := UnmatchedKey[K]{Left: s.c.left, Key: r.Key}
	h, _, err := s.held.Get(k, r.Timestamp, r.Timestamp)
	if err == nil {
		err = s.held.Put(k, r.Timestamp, r.Timestamp, s.c.add(h, r.Value))
	}
	return s.in.Fail(r.Timestamp, err)
}

// emitAloneJoin emits a record that met nothing.
func emitAloneJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], r *topology.Record[K, V]) error {
	s.v = r.Value
	result, err := s.c.f(s.in.Call(), r.Key, &s.v, nil)
	if err != nil {
		return s.in.Error(topology.PhaseProcess, r.Timestamp, err)
	}
	return tellJoin(s, r.Key, result, r.Timestamp)
}

// bufferJoin keeps the record for the other side, unless it is older than what is kept.
func bufferJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], r *topology.Record[K, V]) error {
	if now := s.in.Upto(*s.time); now != topology.Unknown && r.Timestamp <= now-s.retention {
		s.in.DropLate(topology.Expired, r.Timestamp)
		return nil
	}
	if s.shared && s.c.left {
		return nil
	}
	if s.c.recordsMax > 0 && s.own.Records() >= s.c.recordsMax {
		return s.in.Fail(r.Timestamp, fmt.Errorf("join: the buffer is full: it has %d records: give it more room, or "+
			"a shorter window or less grace", s.own.Records()))
	}
	if err := s.own.Add(r.Key, r.Value, r.Timestamp); err != nil {
		return s.in.Fail(r.Timestamp, err)
	}
	if r.Timestamp > *s.time {
		*s.time = r.Timestamp
		expireJoin(s)
	}
	return nil
}

// expireJoin drops what is older than the retention.
func expireJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R]) {
	if now := s.in.Upto(*s.time); now != topology.Unknown {
		s.own.Expire(now - s.retention + 1)
	}
}

// releaseClosedJoin emits the held records whose windows are closed. It looks only when the oldest could be closed.
func releaseClosedJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R]) error {
	now := s.in.Upto(*s.times.stream)
	if s.held == nil || *s.times.least == noneHeld || *s.times.least+s.c.after+s.c.grace >= now {
		return nil
	}
	return releaseUntilJoin(s, now)
}

// releaseUntilJoin goes through the held records by time, right before left, then by key. It stops where both sides are
// open: what lies behind is newer.
func releaseUntilJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], now int64) error {
	*s.times.least = noneHeld
	leftOpen, rightOpen := false, false
	for e, err := range s.held.ByEnd(0, math.MaxInt64) {
		if err != nil {
			return s.in.Fail(now, err)
		}
		*s.times.least = e.End
		if leftOpen && rightOpen {
			break
		}
		look, open := s.c.lookRight, &rightOpen
		if e.Key.Left {
			look, open = s.c.lookLeft, &leftOpen
		}
		if e.End+look+s.c.grace >= now {
			if *open = true; leftOpen && rightOpen && s.c.count(&e.Value) > 1 {
				break // the key's next record is the one that is not looked at
			}
			continue
		}
		s.heldKey, s.heldTime, s.released = e.Key.Key, e.End, e.Value
		for s.heldAt = range s.c.count(&s.released) { // each fails for itself: it is another record than the one at hand
			s.in.Resume()
			s.in.KeepCall()
			done, err := s.in.AttemptWaited(s.heldTime, s.joinHeld)
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			if err := tellJoin(s, s.heldKey, s.heldResult, s.heldTime); err != nil {
				return err
			}
		}
		if err := s.held.Remove(e.Key, e.Start, e.End); err != nil {
			return s.in.Fail(now, err)
		}
	}
	s.in.Resume()
	// Nothing as old as this is held any more, nor will it be: what is so late is emitted at once.
	s.held.Expire(now - max(s.c.lookLeft, s.c.lookRight) - s.c.grace - 1)
	return nil
}

func tellJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], key K, result R, ts int64) error {
	s.out.Key, s.out.Value, s.out.Timestamp = key, result, ts
	s.out.NullValue = s.null != nil && s.null(&s.out.Value)
	return s.next(&s.out)
}
