package state

import (
	"iter"

	"thalweg/serde"
)

// SessionEntry is the value of one key in one session. Both ends belong to the session; its timestamp is its end.
type SessionEntry[K, V any] struct {
	Key        K
	Start, End int64
	Value      V
}

// SessionStore is a task's instance of a session store: values by key, start and end. It belongs to the goroutine that
// runs the task.
//
// The store gives up the sessions that end at Retain or more before the newest end that was written to it: they are not
// found any more, and what is written to them is ignored. Without Retain it keeps all of them.
type SessionStore[K, V any] struct {
	segments *segmentedTable
	keys     keyCodec[K]
	nilable  bool
	found    []SessionEntry[K, V]
	out      Flushed[K, V]
}

func openSession[K, V any](tx *Tx, n name) (*SessionStore[K, V], error) {
	if st, found, err := reopen[*SessionStore[K, V]](tx, n.Name()); found {
		return st, err
	}
	r, err := tx.newStoreBase(n)
	if err != nil {
		return nil, err
	}
	c := codecOf[K, V](n)
	st := &SessionStore[K, V]{
		segments: newSegmentedTable(r, sessionTail, n.made.Retention, cacheMaker(r, sessionTail, c.values)),
		keys:     newKeyCodec(c.keys), nilable: serde.IsNilable[V](),
	}
	return st, tx.enroll(st.segments, st)
}

// KeepUntilExpired leaves it to Expire which sessions are given up. An operator that must report them first calls it
// before anything is written.
func (st *SessionStore[K, V]) KeepUntilExpired[E SessionEntry[K, V]]() {
	st.segments.keepUntilExpired()
}

// Expire gives up all sessions that end before a time. They are gone for readers at once, and leave memory and disk in
// whole segments. It is part of the transaction: Discard takes it back.
func (st *SessionStore[K, V]) Expire[E SessionEntry[K, V]](before int64) { st.segments.expire(before) }

// Get returns the value of one session.
func (st *SessionStore[K, V]) Get[E SessionEntry[K, V]](key K, start, end int64) (value V, ok bool, err error) {
	seg := st.segments.existing(end)
	if seg == nil {
		return value, false, nil
	}
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return value, false, keyError(st.segments.base, err)
	}
	index, ok, err := seg.cache.lookup(st.segments.sessionKey(b, start, end))
	if !ok {
		return value, false, err
	}
	value, _, ok, err = cachedValue(typedCacheOf[V](seg), index)
	return value, ok, err
}

// Put sets the value of a session; a null value removes it. A session that was given up takes nothing.
func (st *SessionStore[K, V]) Put[E SessionEntry[K, V]](key K, start, end int64, value V) error {
	if isNull(st.nilable, value) {
		return st.Remove(key, start, end)
	}
	seg, index, err := placeSession(st, key, start, end)
	if err != nil {
		return ignoreExpired(err)
	}
	return setValue(typedCacheOf[V](seg), index, value, end)
}

// Remove removes a session.
func (st *SessionStore[K, V]) Remove[E SessionEntry[K, V]](key K, start, end int64) error {
	seg, index, err := placeSession(st, key, start, end)
	if err != nil {
		return ignoreExpired(err)
	}
	seg.cache.remove(index, end)
	seg.cache.freeUncommitted(index)
	return nil
}

func placeSession[K, V any](st *SessionStore[K, V], key K, start, end int64) (*tableSegment, uint32, error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return nil, 0, keyError(st.segments.base, err)
	}
	return st.segments.placeSession(b, start, end)
}

// Find returns a key's sessions that end at earliestEnd or later and start at latestStart or earlier, by end, then
// start. The slice is the store's, and valid until the next Find.
func (st *SessionStore[K, V]) Find[E SessionEntry[K, V]](
	key K, earliestEnd, latestStart int64,
) ([]SessionEntry[K, V], error) {
	st.found = st.found[:0]
	head, err := keyBytes(&st.keys, key)
	if err != nil {
		return nil, keyError(st.segments.base, err)
	}
	hash := st.segments.base.hash(head)
	from := max(earliestEnd, st.segments.horizon(), 0)
	for _, t := range st.segments.since(from) {
		seg := t.asTable
		rows, err := st.segments.findSessions(seg, hash, head, from, latestStart)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			_, start, end := splitSession(r.key)
			value, _, err := rowValue(typedCacheOf[V](seg), r)
			if err != nil {
				return nil, err
			}
			st.found = append(st.found, SessionEntry[K, V]{Key: key, Start: start, End: end, Value: value})
		}
	}
	return st.found, nil
}

// Prefetcher prepares searches of Find before they are made, for records of keys: before is how many milliseconds
// earlier than the record a session may end, at the most.
func (st *SessionStore[K, V]) Prefetcher[E SessionEntry[K, V]](before int64) func() Prefetcher {
	return st.segments.sessionPrefetcher(before)
}

// All yields the sessions that end in [from, to]: segment by segment, in a segment by the bytes of key, end and start.
func (st *SessionStore[K, V]) All[E SessionEntry[K, V]](from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return sessionEntries(st, from, to, false)
}

// ByEnd yields the sessions that end in [from, to], by end, then start, then the bytes of the key.
func (st *SessionStore[K, V]) ByEnd[E SessionEntry[K, V]](from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return sessionEntries(st, from, to, true)
}

//go:noinline // see package comment
func sessionEntries[K, V any](
	st *SessionStore[K, V], from, to int64, byEnd bool,
) iter.Seq2[SessionEntry[K, V], error] {
	return func(yield func(SessionEntry[K, V], error) bool) {
		err := st.segments.allSessions(from, to, byEnd, func(seg *tableSegment, r row) bool {
			e, err := sessionEntry(st, seg, r)
			return yield(e, err) && err == nil
		})
		if err != nil {
			yield(SessionEntry[K, V]{}, err)
		}
	}
}

func sessionEntry[K, V any](st *SessionStore[K, V], seg *tableSegment, r row) (e SessionEntry[K, V], err error) {
	var head []byte
	head, e.Start, e.End = splitSession(r.key)
	if e.Key, err = decodeView(&st.keys, head, !r.entry, seg.cache.base); err != nil {
		return e, err
	}
	if e.Value, _, err = rowValue(typedCacheOf[V](seg), r); err != nil {
		err = decodeError(seg.cache.base.name, "value", err)
	}
	return e, err
}

// OnFlush makes the store emit on commit, as KVStore.OnFlush; Flushed.Start and End say which session.
func (st *SessionStore[K, V]) OnFlush[F ~func(*Flushed[K, V]) error](flushOrder int, withOld bool, f F) {
	r := st.segments.base
	r.tx.listen(r, flushOrder)
	st.segments.emit = func(seg *tableSegment, index uint32) error {
		view, stays := seg.cache.view(index)
		head, start, end := splitSession(view)
		st.out = Flushed[K, V]{Start: start, End: end}
		return send(typedCacheOf[V](seg), &st.keys, index, head, stays, withOld, &st.out, f)
	}
}
