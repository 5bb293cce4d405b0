package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// Pace says when changes of rows are emitted.
type Pace uint8

// The paces.
const (
	PaceOfRun Pace = iota // as the environment of the task says
	OnCommit
	OnUpdate
)

// Rows says how a node that keeps rows in a store hands changes on.
type Rows struct {
	Pace   *Pace // nil: OnCommit; read when a task is built
	Silent bool  // with OnCommit: another node emits what is committed
	Sparse bool  // with Old: a deletion of what was not there is neither kept nor emitted
	Old    *bool // what was before is needed downstream; read when a task is built
}

// onUpdate reports whether changes are emitted at once, and not with the commit.
func (r Rows) onUpdate(in *topology.Instance) bool {
	switch {
	case r.Pace == nil:
		return false
	case *r.Pace == PaceOfRun:
		return in.Env.EmitUpdates
	}
	return *r.Pace == OnUpdate
}

// Aggregate folds the records of a key into a row of a store.
func Aggregate[K, V, A any](st state.KV[K, A], fold Fold[K, V, A], rows Rows) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[A]],
	) (topology.Port[K, V], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		in.Announce(st.KeySerde(), store.Prefetcher(true))
		next = marking(in, st.Name(), next)
		a := &aggregate[K, V, A]{in: in, store: store, null: serde.NullOf[A](), old: *rows.Old}
		switch {
		case rows.onUpdate(in):
			a.next = next
		case !rows.Silent:
			emitOnFlush(in, st, store, a.old, next)
		}
		a.add = apartFold(fold, in, st.ValueSerde(), a.next != nil && a.old).Add
		a.ttl, err = newTTLIndex(in, st, store, func(key K, ts int64) error { return forgetAggregate(a, key, ts) })
		return func(r *topology.Record[K, V]) error { return receiveAggregate(a, r) }, err
	})
}

type aggregate[K, V, A any] struct {
	in    *topology.Instance
	store *state.KVStore[K, A]
	add   func(*topology.Call, K, V, A, bool) (A, error)
	null  func(*A) bool
	next  topology.Port[K, topology.Change[A]] // nil: changes are emitted with the commit
	old   bool
	ttl   *ttlIndex[K, A] // nil: rows never expire
	out   topology.Record[K, topology.Change[A]]
}

func receiveAggregate[K, V, A any](a *aggregate[K, V, A], r *topology.Record[K, V]) error {
	a.in.Enter()
	if r.NullKey {
		a.in.Drop(topology.NullKey)
		return nil
	}
	if r.NullValue {
		a.in.Drop(topology.NullValue)
		return nil
	}
	if a.ttl != nil {
		if expired, err := advanceTTL(a.ttl, r.Timestamp); err != nil {
			return a.in.Fail(r.Timestamp, err)
		} else if expired {
			a.in.DropLate(topology.Expired, r.Timestamp)
			return nil
		}
		a.in.Resume()
	}
	row, err := a.store.Find(r.Key)
	if err == nil && a.ttl != nil {
		err = noteTTLChange(a.ttl, r.Key, row, r.Timestamp)
	}
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	agg, ts, ok, err := a.store.Value(row)
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	if !ok || ts < r.Timestamp {
		ts = r.Timestamp
	}
	if a.next != nil {
		a.out.Value.HasOld = ok && a.old
		if a.out.Value.HasOld {
			a.out.Value.Old = agg
		}
	}
	c := &a.out.Value
	if c.New, err = a.add(a.in.CallAt(r.Timestamp, r.Headers), r.Key, r.Value, agg, ok); err != nil {
		return a.in.Error(topology.PhaseProcess, r.Timestamp, err)
	}
	if c.HasNew = a.null == nil || !a.null(&c.New); c.HasNew {
		err = a.store.Set(row, c.New, ts)
	} else {
		err = a.store.Remove(row, ts)
	}
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	if a.next == nil {
		return nil
	}
	a.out.Key, a.out.Timestamp, a.out.Headers = r.Key, ts, r.Headers
	return a.next(&a.out)
}

// forgetAggregate deletes a row that has come to its end.
func forgetAggregate[K, V, A any](a *aggregate[K, V, A], key K, ts int64) error {
	row, err := a.store.Find(key)
	if err != nil {
		return err
	}
	c := &a.out.Value
	if c.HasOld = false; a.next != nil && a.old {
		if c.Old, _, c.HasOld, err = a.store.Value(row); err != nil {
			return err
		}
	}
	if err := a.store.Remove(row, ts); err != nil || a.next == nil {
		return err
	}
	c.HasNew = false
	a.out.Key, a.out.Timestamp, a.out.Headers = key, ts, nil
	return a.next(&a.out)
}

// Emit passes on the changes of rows from several nodes that share a store, or emits them with each commit.
func Emit[K, A any](st state.KV[K, A], rows Rows) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[A]],
	) (topology.Port[K, topology.Change[A]], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		next = marking(in, st.Name(), next)
		if !rows.onUpdate(in) {
			emitOnFlush(in, st, store, *rows.Old, next)
		}
		return next, nil
	})
}

// EmitWindows is Emit for windows.
func EmitWindows[K, A any](st state.Windowed[K, A], w Windows, c Closing) topology.Make {
	return emitSpans(c, st.Name(), func(in *topology.Instance, t *emitter[K, A]) error {
		store, err := st.Open(in)
		if err == nil && !c.onUpdate(in) {
			emitWindowsOnFlush(t, store, w.cutter(false))
		}
		return err
	})
}

// EmitSessions is Emit for sessions.
func EmitSessions[K, A any](st state.Session[K, A], c Closing) topology.Make {
	return emitSpans(c, "", func(in *topology.Instance, t *emitter[K, A]) error {
		store, err := st.Open(in)
		if err == nil && !c.onUpdate(in) {
			store.OnFlush(in.Rank(), t.old, func(f *state.Flushed[K, A]) error {
				return emitFlushed(t, f.Key, Span{f.Start, f.End}, f)
			})
		}
		return err
	})
}

// emitSpans marks the changes that it emits if a store is named.
func emitSpans[K, A any](
	c Closing, store string, listen func(*topology.Instance, *emitter[K, A]) error,
) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[Windowed[K], topology.Change[A]],
	) (topology.Port[Windowed[K], topology.Change[A]], error) {
		next = marking(in, store, next)
		return next, listen(in, newEmitter(in, next, c))
	})
}

// emitOnFlush emits what changed in the store with each commit, each key once.
func emitOnFlush[K, V any](
	in *topology.Instance, st state.KV[K, V], store *state.KVStore[K, V], old bool,
	next topology.Port[K, topology.Change[V]],
) {
	in.AnnounceFlushed(st.KeySerde(), store.PrefetchOnFlush())
	var out topology.Record[K, topology.Change[V]]
	store.OnFlush(in.Rank(), old, func(f *state.Flushed[K, V]) error {
		in.Resume()
		out.Key, out.Timestamp = f.Key, f.Timestamp
		out.Value.New, out.Value.HasNew = f.New, f.HasNew
		out.Value.Old, out.Value.HasOld = f.Old, f.HasOld && old
		if !f.HasNew && !f.HasOld {
			return nil // put and deleted between two commits
		}
		return next(&out)
	})
}
