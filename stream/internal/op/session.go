package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// SessionConfig is an aggregation of sessions: records of a key no more than Gap apart. All times are milliseconds.
type SessionConfig[K, V, A any] struct {
	Gap, Grace int64
	Store      state.Session[K, A]
	Retention  int64
	Initial    func() (agg A, ok bool) // ok is false where the first record makes the aggregate
	Fold       Fold[K, V, A]
	Merge      func(c *topology.Call, key K, a, b A) (A, error)
	TakesNull  bool
	Closing    Closing
	Input      int // which of several inputs of the store this is
	Inputs     int // how many there are; 0: one
}

// AggregateSessions folds the records of a key into a row per session. A session that grows or is bridged to another
// is deleted before the new one is emitted. Children that take the records themselves get those that came too late.
func AggregateSessions[K, V, A any](c SessionConfig[K, V, A]) topology.Make {
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
		in.Announce(c.Store.KeySerde(), store.Prefetcher(c.Gap))
		a := &sessionAggregate[K, V, A]{in: in, config: c, store: store, left: left,
			time:     ownTime(in, c.Store.Name(), c.Input),
			rowTimes: newRowTimes(in, c.Store.Name(), c.Inputs),
			rows:     newEmitter(in, out, c.Closing)}
		a.add, a.merge = apartSessionConfig(c, in, a.rows.onUpdate && a.rows.old)
		a.closing = closing{closed: closedMark(in, c.Store.Name()), on: c.Closing.OnClose}
		expireSessions(a)
		if c.Closing.flushes(in) {
			store.OnFlush(in.Rank(), a.rows.old, func(f *state.Flushed[K, A]) error {
				return emitFlushed(a.rows, f.Key, Span{f.Start, f.End}, f)
			})
		}
		in.TimeMoved = func() error { return closeSessions(a, nil) }
		if c.Closing.Quiet > 0 {
			watchIdle(in, c.Closing.Quiet, a.time, func(headers []topology.Header) error {
				return closeSessions(a, headers)
			})
		}
		return func(r *topology.Record[K, V]) error { return receiveSessions(a, r) }, nil
	})
}

type sessionAggregate[K, V, A any] struct {
	in       *topology.Instance
	config   SessionConfig[K, V, A]
	store    *state.SessionStore[K, A]
	add      func(*topology.Call, K, V, A, bool) (A, error)
	merge    func(*topology.Call, K, A, A) (A, error)
	left     droppedRecords[K, V]
	rows     *emitter[K, A]
	closing  closing
	time     *int64 // highest timestamp seen
	rowTimes        // newest: latest end put into the store
}

// apartSessionConfig are Fold and Merge, as Fold.apart has them.
func apartSessionConfig[K, V, A any](c SessionConfig[K, V, A], in *topology.Instance, oldGoesOn bool) (
	add func(*topology.Call, K, V, A, bool) (A, error), merge func(*topology.Call, K, A, A) (A, error),
) {
	if !copiesFold(c.Fold, in, oldGoesOn) {
		return c.Fold.Add, c.Merge
	}
	copied := copyOf(serde.Local(c.Store.ValueSerde()))
	return apartFold(c.Fold, in, c.Store.ValueSerde(), oldGoesOn).Add,
		func(call *topology.Call, k K, a, b A) (A, error) {
			a, err := copied(a)
			if err == nil {
				b, err = copied(b)
			}
			if err != nil {
				return a, err
			}
			return c.Merge(call, k, a, b)
		}
}

func receiveSessions[K, V, A any](a *sessionAggregate[K, V, A], r *topology.Record[K, V]) error {
	a.in.Enter()
	if out, err := dropNulls(a.left, r, a.config.TakesNull); out {
		return err
	}
	*a.time = max(*a.time, r.Timestamp)
	span := Span{r.Timestamp, r.Timestamp}
	met, err := a.store.Find(r.Key, max(r.Timestamp-a.config.Gap, 0), r.Timestamp+a.config.Gap)
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	for i := range met {
		span.Start, span.End = min(span.Start, met[i].Start), max(span.End, met[i].End)
	}
	if span.End < a.in.Upto(*a.time)-a.config.Grace-a.config.Gap {
		a.in.DropLate(topology.Late, r.Timestamp)
		if err := forwardDropped(a.left, r, topology.Late); err != nil {
			return err
		}
		return closeSessions(a, r.Headers)
	}
	if err := updateSessions(a, r, span, met); err != nil {
		return err
	}
	return closeSessions(a, r.Headers)
}

func updateSessions[K, V, A any](
	a *sessionAggregate[K, V, A], r *topology.Record[K, V], span Span, met []state.SessionEntry[K, A],
) error {
	agg, err := foldSessions(a, r, met)
	if err != nil {
		return a.in.Error(topology.PhaseProcess, r.Timestamp, err)
	}
	c := &a.rows.out.Value
	if span != (Span{r.Timestamp, r.Timestamp}) {
		for i := range met {
			if (Span{met[i].Start, met[i].End}) != span { // otherwise it is written below
				if err := a.store.Remove(r.Key, met[i].Start, met[i].End); err != nil {
					return a.in.Fail(r.Timestamp, err)
				}
			}
			if !a.rows.onUpdate {
				continue
			}
			c.HasNew, c.HasOld, c.Old = false, a.rows.old, met[i].Value
			if err := emitRow(a.rows, r.Key, Span{met[i].Start, met[i].End}, met[i].End, nil); err != nil {
				return err
			}
		}
		a.in.Resume()
	}
	*a.newest = max(*a.newest, span.End)
	c.New = agg
	c.HasNew, c.HasOld = !isNullEmitter(a.rows, &c.New), false
	if c.HasNew {
		err = a.store.Put(r.Key, span.Start, span.End, c.New)
	} else {
		err = a.store.Remove(r.Key, span.Start, span.End)
	}
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	if !a.rows.onUpdate {
		return nil
	}
	err = emitRow(a.rows, r.Key, span, span.End, nil)
	a.in.Resume()
	return err
}

// foldSessions adds the record to what the sessions that it meets have.
func foldSessions[K, V, A any](
	a *sessionAggregate[K, V, A], r *topology.Record[K, V], met []state.SessionEntry[K, A],
) (agg A, err error) {
	call := a.in.CallAt(r.Timestamp, r.Headers)
	agg, begun := a.config.Initial()
	ok := begun
	for i := range met {
		if !ok {
			agg, ok = met[i].Value, true
			continue
		}
		if agg, err = a.merge(call, r.Key, agg, met[i].Value); err != nil {
			return agg, err
		}
		a.rows.out.Value.New = agg                                  // a slot: agg must not escape
		ok = begun || !isNullEmitter(a.rows, &a.rows.out.Value.New) // what was merged to nothing starts again
	}
	return a.add(call, r.Key, r.Value, agg, ok)
}

// closeSessions is as for windows, but a session that ends exactly at the time of closing is still open.
func closeSessions[K, V, A any](a *sessionAggregate[K, V, A], headers []topology.Header) error {
	closeTime := a.in.Upto(*a.time) - a.config.Grace - a.config.Gap
	if from, ok := a.closing.advance(closeTime); ok {
		if err := emitClosedSessions(a, from, closeTime-1, headers); err != nil {
			return err
		}
	}
	expireSessions(a)
	return nil
}

// emitClosedSessions emits the sessions that end in [from, to]. It is apart from close as for windows.
func emitClosedSessions[K, V, A any](a *sessionAggregate[K, V, A], from, to int64, headers []topology.Header) error {
	for e, err := range a.store.ByEnd(from, to) {
		if err != nil {
			return a.in.Fail(*a.time, err)
		}
		c := &a.rows.out.Value
		c.New, c.HasNew, c.HasOld = e.Value, true, false
		if err := emitRow(a.rows, e.Key, Span{e.Start, e.End}, e.End, headers); err != nil {
			return err
		}
	}
	return nil
}

// expireSessions drops what is older than the store keeps; but nothing that has yet to be emitted, and no session
// that a record may still belong to: one that ends Gap and Grace before the highest timestamp is open.
func expireSessions[K, V, A any](a *sessionAggregate[K, V, A]) {
	now := a.now(a.in)
	if now == topology.Unknown {
		return
	}
	before := now - max(a.config.Retention-1, a.config.Gap+a.config.Grace)
	if a.closing.on {
		before = min(before, *a.closing.closed)
	}
	a.store.Expire(before)
}
