package op

import (
	"errors"
	"slices"

	"thalweg/state"
	"thalweg/topology"
)

// AggregateSliding folds the records of a key into a row per sliding window. A window [s, s+Size] exists where a record
// is at its end (the record's left window), or right before its start with others inside (the record's right window):
// so a new record updates the windows that hold it, makes its left window of what lies before it, its right window of
// what lies behind it, and the right window of the record before it.
//
// Records below Size share one left window, [0, Size].
func AggregateSliding[K, V, A any](c WindowConfig[K, V, A]) topology.Make {
	return topology.Operator(func(in *topology.Instance, next []any) (topology.Port[K, V], error) {
		left, out, err := droppedAndResults[K, V, A](in, next)
		if err != nil {
			return nil, err
		}
		store, err := c.Store.Open(in)
		if err != nil {
			return nil, err
		}
		store.KeepUntilExpired()
		a := &slidingAggregate[K, V, A]{in: in, c: c, size: c.Windows.Size, store: store, left: left,
			rows: newEmitter(in, marking(in, c.Store.Name(), out), c.Closing), copy: copyOf(c.Store.ValueSerde()),
			holds: in.Env.Guarded,
			time:  ownTime(in, c.Store.Name(), c.Input), rowTimes: newRowTimes(in, c.Store.Name(), c.Inputs),
			closing: closing{closed: closedMark(in, c.Store.Name()), on: c.Closing.OnClose}}
		a.add = apartFold(c.Fold, in, c.Store.ValueSerde(), a.rows.onUpdate && a.rows.old).Add
		expireSliding(a)
		if c.Closing.flushes(in) {
			store.OnFlush(in.Rank(), a.rows.old, func(f *state.Flushed[K, A]) error {
				return emitFlushed(a.rows, f.Key, Span{f.Start, f.Start + a.size}, f)
			})
		}
		in.TimeMoved = func() error { return closeSliding(a, nil) }
		if c.Closing.Quiet > 0 {
			watchIdle(in, c.Closing.Quiet, a.time, func(headers []topology.Header) error {
				return closeSliding(a, headers)
			})
		}
		return func(r *topology.Record[K, V]) error { return receiveSliding(a, r) }, nil
	})
}

type slidingAggregate[K, V, A any] struct {
	in       *topology.Instance
	c        WindowConfig[K, V, A]
	size     int64
	store    *state.WindowStore[K, A]
	left     droppedRecords[K, V]
	rows     *emitter[K, A]
	add      func(*topology.Call, K, V, A, bool) (A, error)
	copy     func(A) (A, error) // several windows must not share an aggregate that is changed in place
	closing  closing
	time     *int64 // highest timestamp seen
	rowTimes        // newest: latest start put into the store

	found []state.WindowEntry[K, A] // scratch

	holds bool // as for aligned windows
	held  []windowResult[A]
}

func receiveSliding[K, V, A any](a *slidingAggregate[K, V, A], r *topology.Record[K, V]) error {
	a.in.Enter()
	if out, err := dropNulls(a.left, r, false); out {
		return err
	}
	*a.time = max(*a.time, r.Timestamp)
	if r.Timestamp+a.size < a.in.Upto(*a.time)-a.c.Windows.Grace {
		a.in.DropLate(topology.Late, r.Timestamp)
		return forwardDropped(a.left, r, topology.Late)
	}
	a.in.CallAt(r.Timestamp, r.Headers)
	a.held = emptied(a.held)
	early := r.Timestamp < a.size
	var err error
	if early {
		err = earlySliding(a, r)
	} else {
		err = usualSliding(a, r)
	}
	if err != nil {
		return err
	}
	for i := range a.held {
		a.rows.out.Value = a.held[i].change
		if err := writeSliding(a, r, a.held[i].span.Start, a.held[i].timestamp); err != nil {
			return err
		}
	}
	if early {
		return nil
	}
	return closeSliding(a, r.Headers)
}

// fetchSliding gathers the key's windows that start in [from, to], latest first.
func fetchSliding[K, V, A any](a *slidingAggregate[K, V, A], key K, from, to int64) error {
	a.found = a.found[:0]
	for e, err := range a.store.FetchReverse(key, from, to) {
		if err != nil {
			return a.in.Fail(*a.time, err)
		}
		a.found = append(a.found, e)
	}
	return nil
}

// startsSliding tells whether a window that was fetched starts there.
func startsSliding[K, V, A any](a *slidingAggregate[K, V, A], at int64) bool {
	return slices.ContainsFunc(a.found, func(e state.WindowEntry[K, A]) bool { return e.Start == at })
}

// base is the aggregate that a window has, or begins with: the zero base is of an empty one.
type base[A any] struct {
	agg A
	ts  int64
	ok  bool
}

func baseOf[K, A any](e *state.WindowEntry[K, A]) base[A] { return base[A]{e.Value, e.Timestamp, true} }

func usualSliding[K, V, A any](a *slidingAggregate[K, V, A], r *topology.Record[K, V]) error {
	t := r.Timestamp
	if err := fetchSliding(a, r.Key, max(0, t-2*a.size), t+1); err != nil {
		return err
	}
	var (
		left, right       base[A] // what lies before the record, within reach; what lies behind it
		hasLeft, hasRight bool    // the record's own windows are there
		previous          = topology.Unknown
		err               error
	)
scan:
	for i := range a.found {
		e := &a.found[i]
		end := e.Start + a.size
		switch {
		case e.Start == t+1:
			hasRight = true
		case end > t:
			if !right.ok {
				if right, err = keepSliding(a, e); err != nil {
					return err
				}
			}
			if err := updateSliding(a, r, e.Start, baseOf(e)); err != nil {
				return err
			}
		case end == t:
			hasLeft = true
			if e.Timestamp < t {
				previous = e.Timestamp
			}
			if err := updateSliding(a, r, e.Start, baseOf(e)); err != nil {
				return err
			}
		default:
			left, previous = baseOf(e), e.Timestamp
			break scan
		}
	}
	if previous != topology.Unknown && previous+1+a.size >= t && !startsSliding(a, previous+1) {
		if err := updateSliding(a, r, previous+1, base[A]{}); err != nil {
			return err
		}
	}
	if !hasLeft {
		if previous == topology.Unknown || previous < t-a.size {
			left = base[A]{}
		} else if left.agg, err = a.copy(left.agg); err != nil {
			return a.in.Error(topology.PhaseProcess, t, err)
		}
		if err := updateSliding(a, r, t-a.size, left); err != nil {
			return err
		}
	}
	if !hasRight && right.ok && right.ts > t {
		return putSliding(a, r, t+1, right)
	}
	return nil
}

// keepSliding copies what a window holds before the record is added to it.
func keepSliding[K, V, A any](a *slidingAggregate[K, V, A], e *state.WindowEntry[K, A]) (base[A], error) {
	b := baseOf(e)
	var err error
	if b.agg, err = a.copy(b.agg); err != nil {
		return b, a.in.Error(topology.PhaseProcess, e.Timestamp, err)
	}
	return b, nil
}

// earlySliding takes a record below Size. It emits nothing that closes: as in Kafka Streams the next usual record
// does.
func earlySliding[K, V, A any](a *slidingAggregate[K, V, A], r *topology.Record[K, V]) error {
	t := r.Timestamp
	if err := fetchSliding(a, r.Key, 0, t+1); err != nil {
		return err
	}
	slices.Reverse(a.found)
	var (
		shared, right base[A]
		hasRight      bool
		previous      = topology.Unknown
		err           error
	)
	for i := range a.found {
		e := &a.found[i]
		switch {
		case e.Start == 0:
			shared = baseOf(e)
			if e.Timestamp < t {
				previous = e.Timestamp
			}
		case e.Start <= t:
			if right, err = keepSliding(a, e); err != nil {
				return err
			}
			if err := updateSliding(a, r, e.Start, baseOf(e)); err != nil {
				return err
			}
		default:
			hasRight = true
		}
	}
	if !right.ok && shared.ok && shared.ts > t {
		right = shared
		if right.agg, err = a.copy(shared.agg); err != nil {
			return a.in.Error(topology.PhaseProcess, t, err)
		}
	}
	if !hasRight && right.ok && right.ts > t {
		if err := putSliding(a, r, t+1, right); err != nil {
			return err
		}
	}
	if previous != topology.Unknown && !startsSliding(a, previous+1) {
		if err := updateSliding(a, r, previous+1, base[A]{}); err != nil {
			return err
		}
	}
	if !shared.ok {
		return updateSliding(a, r, 0, base[A]{})
	}
	return updateSliding(a, r, 0, shared)
}

// updateSliding adds the record to a window.
func updateSliding[K, V, A any](a *slidingAggregate[K, V, A], r *topology.Record[K, V], start int64, b base[A]) error {
	if start+a.size < a.in.Upto(*a.time)-a.c.Windows.Grace {
		a.in.DropLate(topology.Late, r.Timestamp)
		return nil
	}
	c := &a.rows.out.Value
	var err error
	if c.New, err = a.add(a.in.Call(), r.Key, r.Value, b.agg, b.ok); err != nil {
		return a.in.Error(topology.PhaseProcess, r.Timestamp, err)
	}
	return holdSliding(a, r, start, max(b.ts, r.Timestamp))
}

// putSliding makes a window of others' records.
func putSliding[K, V, A any](a *slidingAggregate[K, V, A], r *topology.Record[K, V], start int64, b base[A]) error {
	a.rows.out.Value.New = b.agg
	return holdSliding(a, r, start, b.ts)
}

// holdSliding writes what update or put has made of a window, or keeps it until the record is added to all of them.
func holdSliding[K, V, A any](a *slidingAggregate[K, V, A], r *topology.Record[K, V], start, ts int64) error {
	if a.holds {
		a.held = append(a.held, windowResult[A]{span: Span{Start: start}, timestamp: ts, change: a.rows.out.Value})
		return nil
	}
	return writeSliding(a, r, start, ts)
}

// writeSliding writes the slot's New. The old row is the one that the store has: the aggregate that the new one was
// made of may be another window's, and a record may write a window twice.
func writeSliding[K, V, A any](a *slidingAggregate[K, V, A], r *topology.Record[K, V], start, ts int64) error {
	row, err := a.store.Find(r.Key, start)
	c := &a.rows.out.Value
	c.HasNew, c.HasOld = !isNullEmitter(a.rows, &c.New), false
	if err == nil && a.rows.onUpdate && a.rows.old {
		c.Old, _, c.HasOld, err = a.store.Value(row)
	}
	switch {
	case errors.Is(err, state.ErrExpired):
		a.in.DropLate(topology.Expired, r.Timestamp)
		return nil
	case err != nil:
	case c.HasNew:
		err = a.store.Set(row, c.New, ts)
	default:
		err = a.store.Remove(row, ts)
	}
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	*a.newest = max(*a.newest, start)
	if !a.rows.onUpdate {
		return nil
	}
	err = emitRow(a.rows, r.Key, Span{start, start + a.size}, ts, r.Headers)
	a.in.Resume()
	return err
}

// closeSliding is as for aligned windows, but a window that ends exactly at the time of closing is still open.
func closeSliding[K, V, A any](a *slidingAggregate[K, V, A], headers []topology.Header) error {
	closeTime := a.in.Upto(*a.time) - a.c.Windows.Grace
	if from, ok := a.closing.advance(closeTime); ok {
		if err := emitClosedSliding(a, from-a.size, closeTime-a.size-1, headers); err != nil {
			return err
		}
	}
	expireSliding(a)
	return nil
}

// emitClosedSliding emits the windows that start in [from, to]. It is apart from close as for aligned windows.
func emitClosedSliding[K, V, A any](a *slidingAggregate[K, V, A], from, to int64, headers []topology.Header) error {
	for e, err := range a.store.ByTime(from, to) {
		if err != nil {
			return a.in.Fail(*a.time, err)
		}
		c := &a.rows.out.Value
		c.New, c.HasNew, c.HasOld = e.Value, true, false
		if err := emitRow(a.rows, e.Key, Span{e.Start, e.Start + a.size}, e.Timestamp, headers); err != nil {
			return err
		}
	}
	return nil
}

// expireSliding drops what is older than the store keeps; but not the window that ends with the record before the
// earliest open one: it tells that there is such a record.
func expireSliding[K, V, A any](a *slidingAggregate[K, V, A]) {
	if now := a.now(a.in); now != topology.Unknown {
		a.store.Expire(now - max(a.c.Retention-1, 2*a.size+a.c.Windows.Grace+1))
	}
}
