package op

import (
	"errors"
	"math"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// Span is a stretch of time, in milliseconds since the epoch. The End of a tumbling, hopping or unlimited window does
// not belong to it; that of a sliding window or a session does.
type Span struct{ Start, End int64 }

// Windowed is the key of a windowed table.
type Windowed[K any] struct {
	Key  K
	Span Span
}

// Closing says how an aggregation of windows emits its results.
type Closing struct {
	Rows
	OnClose bool  // each window once, when it is closed
	Quiet   int64 // milliseconds of the wall clock without a record after which stream time advances with it; 0: never
}

// flushes reports whether the node emits its results with each commit.
func (c Closing) flushes(in *topology.Instance) bool {
	return !c.OnClose && !c.onUpdate(in) && !c.Silent
}

// WindowConfig is an aggregation of windows.
type WindowConfig[K, V, A any] struct {
	Windows   Windows
	Store     state.Windowed[K, A]
	Retention int64 // milliseconds
	Fold      Fold[K, V, A]
	TakesNull bool // the fold takes null values
	Closing   Closing
	Input     int // which of several inputs of the store this is
	Inputs    int // how many there are; 0: one
}

// AggregateWindows folds the records of a key into a row per window. Children that take the records themselves, not
// changes of rows, get those that came too late for all their windows.
func AggregateWindows[K, V, A any](c WindowConfig[K, V, A]) topology.Make {
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
		if starts := c.Windows.starts(); starts != nil {
			in.Announce(c.Store.KeySerde(), store.Prefetcher(starts))
		}
		cut := c.Windows.cutter(c.Closing.OnClose)
		a := &windowAggregate[K, V, A]{in: in, windows: c.Windows, cut: cut, store: store, takesNull: c.TakesNull,
			left: left, rows: newEmitter(in, marking(in, c.Store.Name(), out), c.Closing), retention: c.Retention,
			time: ownTime(in, c.Store.Name(), c.Input), rowTimes: newRowTimes(in, c.Store.Name(), c.Inputs)}
		a.add = apartFold(c.Fold, in, c.Store.ValueSerde(), a.rows.onUpdate && a.rows.old).Add
		a.closing = closing{closed: closedMark(in, c.Store.Name()), on: c.Closing.OnClose}
		expireWindows(a)
		if c.Windows.Own != nil && c.Closing.OnClose { // no window is longer than Size
			if err := recall(store, cut, *a.closing.closed-c.Windows.Size); err != nil {
				return nil, err
			}
		}
		if c.Closing.flushes(in) {
			emitWindowsOnFlush(a.rows, store, cut)
		}
		in.TimeMoved = func() error { return closeWindows(a, nil) }
		if c.Closing.Quiet > 0 {
			watchIdle(in, c.Closing.Quiet, a.time, func(headers []topology.Header) error {
				return closeWindows(a, headers)
			})
		}
		return func(r *topology.Record[K, V]) error { return receiveWindows(a, r) }, nil
	})
}

type windowAggregate[K, V, A any] struct {
	in        *topology.Instance
	windows   Windows
	cut       cutter
	store     *state.WindowStore[K, A]
	add       func(*topology.Call, K, V, A, bool) (A, error)
	takesNull bool
	left      droppedRecords[K, V]
	rows      *emitter[K, A]
	closing   closing
	retention int64
	time      *int64 // highest timestamp seen
	rowTimes         // newest: latest start put into the store

	// A record that fails in one window must be in none: if the task continues after a failure, nothing is written
	// before the record is added to all of them.
	holds bool
	held  []windowResult[A]
}

// windowResult is what a record makes of a window.
type windowResult[A any] struct {
	span      Span
	timestamp int64
	change    topology.Change[A]
}

func receiveWindows[K, V, A any](a *windowAggregate[K, V, A], r *topology.Record[K, V]) error {
	a.in.Enter()
	if out, err := dropNulls(a.left, r, a.takesNull); out {
		return err
	}
	spans, err := a.cut.at(r.Timestamp)
	if err != nil {
		return a.in.Error(topology.PhaseProcess, r.Timestamp, err)
	}
	*a.time = max(*a.time, r.Timestamp)
	closeTime := a.in.Upto(*a.time) - a.windows.Grace
	a.in.CallAt(r.Timestamp, r.Headers)
	a.holds, a.held = a.in.Env.Guarded && len(spans) > 1, emptied(a.held)
	taken, missed, why := false, false, topology.Late
	for _, w := range spans {
		if w.End <= closeTime {
			a.in.DropLate(topology.Late, r.Timestamp)
			missed = true
			continue
		}
		kept, err := updateWindows(a, r, w)
		if err != nil {
			return err
		}
		if taken = taken || kept; !kept {
			a.in.DropLate(topology.Expired, r.Timestamp)
			missed, why = true, topology.Expired
		}
	}
	for i := range a.held {
		if err := writeHeldWindows(a, r, &a.held[i]); err != nil {
			return err
		}
	}
	if missed && !taken {
		if err := forwardDropped(a.left, r, why); err != nil {
			return err
		}
	}
	return closeWindows(a, r.Headers)
}

// updateWindows adds a record to a window. It is not kept where the store has given the window up.
func updateWindows[K, V, A any](
	a *windowAggregate[K, V, A], r *topology.Record[K, V], w Span,
) (kept bool, err error) {
	row, err := a.store.Find(r.Key, w.Start)
	if errors.Is(err, state.ErrExpired) {
		return false, nil
	}
	if err != nil {
		return false, a.in.Fail(r.Timestamp, err)
	}
	agg, ts, ok, err := a.store.Value(row)
	if err != nil {
		return false, a.in.Fail(r.Timestamp, err)
	}
	if !ok || ts < r.Timestamp {
		ts = r.Timestamp
	}
	c := &a.rows.out.Value
	if c.HasOld = ok && a.rows.old; c.HasOld {
		c.Old = agg
	}
	if c.New, err = a.add(a.in.Call(), r.Key, r.Value, agg, ok); err != nil {
		return false, a.in.Error(topology.PhaseProcess, r.Timestamp, err)
	}
	if a.holds {
		a.held = append(a.held, windowResult[A]{span: w, timestamp: ts, change: *c})
		return true, nil
	}
	return true, writeWindows(a, r, row, w, ts)
}

// writeWindows writes what update has put into the slot's Value.
func writeWindows[K, V, A any](
	a *windowAggregate[K, V, A], r *topology.Record[K, V], row state.WindowRef[A], w Span, ts int64,
) (err error) {
	*a.newest = max(*a.newest, w.Start)
	c := &a.rows.out.Value
	if c.HasNew = !isNullEmitter(a.rows, &c.New); c.HasNew {
		err = a.store.Set(row, c.New, ts)
	} else {
		err = a.store.Remove(row, ts)
	}
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	if !a.rows.onUpdate {
		return nil
	}
	err = emitRow(a.rows, r.Key, w, ts, r.Headers)
	a.in.Resume()
	return err
}

func writeHeldWindows[K, V, A any](a *windowAggregate[K, V, A], r *topology.Record[K, V], h *windowResult[A]) error {
	a.rows.out.Value = h.change
	row, err := a.store.Find(r.Key, h.span.Start)
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	return writeWindows(a, r, row, h.span, h.timestamp)
}

// closeWindows emits the windows that are closed now, and then drops what is older than the store keeps. It emits
// closed windows before it expires rows.
func closeWindows[K, V, A any](a *windowAggregate[K, V, A], headers []topology.Header) error {
	if a.windows.Unlimited {
		return nil
	}
	closeTime := a.in.Upto(*a.time) - a.windows.Grace
	if before, ok := a.closing.advance(closeTime); ok {
		if first, last := a.cut.closing(before, closeTime); first <= last {
			if err := emitClosedWindows(a, first, last, Span{before, closeTime}, headers); err != nil {
				return err
			}
		}
	}
	expireWindows(a)
	return nil
}

// emitClosedWindows emits the windows that start in [from, to] and have been closed since a time. It is apart
// from close, which each record calls: a loop's body would have its variables allocated there.
func emitClosedWindows[K, V, A any](
	a *windowAggregate[K, V, A], from, to int64, since Span, headers []topology.Header,
) error {
	for e, err := range a.store.ByTime(from, to) {
		if err != nil {
			return a.in.Fail(*a.time, err)
		}
		end, err := a.cut.end(e.Start)
		if err != nil {
			return a.in.Fail(*a.time, err)
		}
		if end <= since.Start || end > since.End {
			continue
		}
		c := &a.rows.out.Value
		c.New, c.HasNew, c.HasOld = e.Value, true, false
		if err := emitRow(a.rows, e.Key, Span{e.Start, end}, e.Timestamp, headers); err != nil {
			return err
		}
	}
	return nil
}

// recall tells a cutter that has to remember open windows which ones there are.
func recall[K, A any](store *state.WindowStore[K, A], cut cutter, from int64) error {
	for e, err := range store.ByTime(from, math.MaxInt64) {
		if err == nil {
			_, err = cut.end(e.Start)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expireWindows drops what is older than the store keeps.
func expireWindows[K, V, A any](a *windowAggregate[K, V, A]) {
	if now := a.now(a.in); now != topology.Unknown && !a.windows.Unlimited {
		a.store.Expire(now - a.retention + 1)
	}
}

// WindowView reads a window store.
func WindowView[K, A any](st state.Windowed[K, A]) View[Windowed[K], A] {
	return func(in *topology.Instance) (Get[Windowed[K], A], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		was := beforeOf[A](in, st.Name())
		return func(w Windowed[K], l Lookup) (f found[A], err error) {
			if l.State == BeforeChange && was.on {
				return found[A]{row: was.row, timestamp: topology.Unknown, ok: was.has}, nil
			}
			f.row, f.timestamp, f.ok, err = store.Get(w.Key, w.Span.Start)
			return f, err
		}, nil
	}
}

// SessionView reads a session store.
func SessionView[K, A any](st state.Session[K, A]) View[Windowed[K], A] {
	return func(in *topology.Instance) (Get[Windowed[K], A], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		return func(w Windowed[K], _ Lookup) (found[A], error) {
			agg, ok, err := store.Get(w.Key, w.Span.Start, w.Span.End)
			return found[A]{row: agg, timestamp: w.Span.End, ok: ok}, err
		}, nil
	}
}

// WindowToStream makes each change of a row a record whose key f makes of key and window.
func WindowToStream[K, V, KO any](f func(*topology.Call, K, Span) (KO, error)) topology.Make {
	nullKey := serde.NullOf[KO]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[KO, V],
	) (topology.Port[Windowed[K], topology.Change[V]], error) {
		var out topology.Record[KO, V]
		return func(r *topology.Record[Windowed[K], topology.Change[V]]) error {
			in.Enter()
			var err error
			if out.Key, err = f(in.CallAt(r.Timestamp, r.Headers), r.Key.Key, r.Key.Span); err != nil {
				return in.Error(topology.PhaseProcess, r.Timestamp, err)
			}
			out.NullKey = nullKey != nil && nullKey(&out.Key)
			out.Timestamp, out.Headers = r.Timestamp, r.Headers
			out.Value = *new(V)
			if out.NullValue = !r.Value.HasNew; !out.NullValue {
				out.Value = r.Value.New
			}
			return next(&out)
		}, nil
	})
}
