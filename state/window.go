package state

import (
	"errors"
	"iter"
	"thalweg/serde"
)

// WindowEntry is the value of one key in one window.
type WindowEntry[K, V any] struct {
	Key       K
	Start     int64 // of the window, milliseconds
	Value     V
	Timestamp int64
}

// WindowRef refers to the entry of a key in a window, as Ref.
type WindowRef[V any] struct {
	cache *typedCache[V]
	index uint32
}

// WindowStore is a task's instance of a window store: values by key and window start, which is never negative. It
// belongs to the goroutine that runs the task.
//
// The store gives up the windows that start at Retain or more before the newest start that was written to it: they are
// not found any more, and what is written to them is ignored. Without Retain it keeps all of them.
type WindowStore[K, V any] struct {
	segments *segmentedTable
	keys     keyCodec[K]
	nilable  bool
	out      Flushed[K, V]
}

func openWindow[K, V any](tx *Tx, n name) (*WindowStore[K, V], error) {
	if st, found, err := reopen[*WindowStore[K, V]](tx, n.Name()); found {
		return st, err
	}
	r, err := tx.newStoreBase(n)
	if err != nil {
		return nil, err
	}
	c := codecOf[K, V](n)
	st := &WindowStore[K, V]{
		segments: newSegmentedTable(r, windowTail, n.made.Retention, cacheMaker(r, 0, c.values)),
		keys:     newKeyCodec(c.keys), nilable: serde.IsNilable[V](),
	}
	return st, tx.enroll(st.segments, st)
}

// KeepUntilExpired leaves it to Expire which windows are given up. An operator that must report them first calls it
// before anything is written.
func (st *WindowStore[K, V]) KeepUntilExpired[E WindowEntry[K, V]]() { st.segments.keepUntilExpired() }

// Expire gives up all windows that start before a time. They are gone for readers at once, and leave memory and disk in
// whole segments. It is part of the transaction: Discard takes it back.
func (st *WindowStore[K, V]) Expire[E WindowEntry[K, V]](before int64) { st.segments.expire(before) }

// Find is the fast path of aggregates: one hash and one probe find the entry of key in the window, or make one without
// a value. It returns ErrExpired for a window that was given up.
func (st *WindowStore[K, V]) Find[E WindowEntry[K, V]](key K, start int64) (WindowRef[V], error) {
	seg, err := st.segments.at(start)
	if err != nil {
		return WindowRef[V]{}, err
	}
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return WindowRef[V]{}, keyError(st.segments.base, err)
	}
	seg.noteTime(start)
	index, err := seg.cache.find(st.segments.windowKey(b, start))
	return WindowRef[V]{typedCacheOf[V](seg), index}, err
}

// Value returns the value of the entry with its timestamp.
func (st *WindowStore[K, V]) Value[E WindowEntry[K, V]](r WindowRef[V]) (value V, timestamp int64, ok bool, err error) {
	return cachedValue(r.cache, r.index)
}

// Set sets the value of the entry; a null value deletes the key from the window.
func (st *WindowStore[K, V]) Set[E WindowEntry[K, V]](r WindowRef[V], value V, timestamp int64) error {
	if isNull(st.nilable, value) {
		return st.Remove(r, timestamp)
	}
	return setValue(r.cache, r.index, value, timestamp)
}

// Remove deletes the key of the entry from the window.
func (st *WindowStore[K, V]) Remove[E WindowEntry[K, V]](r WindowRef[V], timestamp int64) error {
	r.cache.rows.remove(r.index, timestamp)
	return nil
}

// Get returns the value of key in the window that begins at start.
func (st *WindowStore[K, V]) Get[E WindowEntry[K, V]](
	key K, start int64,
) (value V, timestamp int64, ok bool, err error) {
	seg := st.segments.existing(start)
	if seg == nil {
		return value, 0, false, nil
	}
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return value, 0, false, keyError(st.segments.base, err)
	}
	index, ok, err := seg.cache.lookup(st.segments.windowKey(b, start))
	if !ok {
		return value, 0, false, err
	}
	return cachedValue(typedCacheOf[V](seg), index)
}

// Put sets the value of key in a window; a null value deletes it. A window that was given up takes nothing.
func (st *WindowStore[K, V]) Put[E WindowEntry[K, V]](key K, start int64, value V, timestamp int64) error {
	r, err := st.Find(key, start)
	if err != nil {
		return ignoreExpired(err)
	}
	return st.Set(r, value, timestamp)
}

// Delete removes key from a window.
func (st *WindowStore[K, V]) Delete[E WindowEntry[K, V]](key K, start, timestamp int64) error {
	r, err := st.Find(key, start)
	if err != nil {
		return ignoreExpired(err)
	}
	r.cache.rows.remove(r.index, timestamp)
	r.cache.rows.freeUncommitted(r.index)
	return nil
}

func ignoreExpired(err error) error {
	if errors.Is(err, ErrExpired) {
		return nil
	}
	return err
}

// Fetch yields a key's windows that start in [from, to], ascending.
func (st *WindowStore[K, V]) Fetch[E WindowEntry[K, V]](key K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return fetchWindows(st, key, from, to, false)
}

// FetchReverse is Fetch in descending order.
func (st *WindowStore[K, V]) FetchReverse[E WindowEntry[K, V]](
	key K, from, to int64,
) iter.Seq2[WindowEntry[K, V], error] {
	return fetchWindows(st, key, from, to, true)
}

//go:noinline // see package comment
func fetchWindows[K, V any](
	st *WindowStore[K, V], key K, from, to int64, reverse bool,
) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		head, err := st.keys.serde.Append(nil, key)
		if err != nil {
			yield(WindowEntry[K, V]{}, keyError(st.segments.base, err))
			return
		}
		e := WindowEntry[K, V]{Key: key}
		err = st.segments.fetchWindows(head, from, to, reverse, func(seg *tableSegment, r row, start int64) bool {
			e.Start = start
			var err error
			e.Value, e.Timestamp, err = rowValue(typedCacheOf[V](seg), r)
			return yield(e, err) && err == nil
		})
		if err != nil {
			yield(WindowEntry[K, V]{}, err)
		}
	}
}

// All yields everything that is not given up whose window starts in [from, to]: segment by segment, in a segment by
// the bytes of key and start.
func (st *WindowStore[K, V]) All[E WindowEntry[K, V]](from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(st, from, to, ascending)
}

// AllReverse is All in descending order.
func (st *WindowStore[K, V]) AllReverse[E WindowEntry[K, V]](from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(st, from, to, descending)
}

// ByTime yields everything whose window starts in [from, to], by start, then by the bytes of the key.
func (st *WindowStore[K, V]) ByTime[E WindowEntry[K, V]](from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(st, from, to, byTime)
}

//go:noinline // see package comment
func windowEntries[K, V any](st *WindowStore[K, V], from, to int64, o order) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		err := st.segments.windows(from, to, o, func(seg *tableSegment, r row, start int64) bool {
			e, err := windowEntry(st, seg, r, start)
			return yield(e, err) && err == nil
		})
		if err != nil {
			yield(WindowEntry[K, V]{}, err)
		}
	}
}

func windowEntry[K, V any](
	st *WindowStore[K, V], seg *tableSegment, r row, start int64,
) (e WindowEntry[K, V], err error) {
	e.Start = start
	head, _ := splitWindow(r.key)
	if e.Key, err = decodeView(&st.keys, head, !r.entry, seg.cache.base); err != nil {
		return e, err
	}
	if e.Value, e.Timestamp, err = rowValue(typedCacheOf[V](seg), r); err != nil {
		err = decodeError(seg.cache.base.name, "value", err)
	}
	return e, err
}

// Prefetcher prepares look-ups of keys in windows before they are made. starts appends the starts of the windows that a
// record of a time is in; it is asked for no more than that and may be asked at any time.
func (st *WindowStore[K, V]) Prefetcher[E WindowEntry[K, V]](
	starts func(dst []int64, timestamp int64) []int64,
) func() Prefetcher {
	return st.segments.windowPrefetcher(starts)
}

// OnFlush makes the store emit on commit, as KVStore.OnFlush; Flushed.Start says which window.
func (st *WindowStore[K, V]) OnFlush[F ~func(*Flushed[K, V]) error](flushOrder int, withOld bool, f F) {
	r := st.segments.base
	r.tx.listen(r, flushOrder)
	st.segments.emit = func(seg *tableSegment, index uint32) error {
		view, stays := seg.cache.view(index)
		head, start := splitWindow(view)
		st.out = Flushed[K, V]{Start: start}
		return send(typedCacheOf[V](seg), &st.keys, index, head, stays, withOld, &st.out, f)
	}
}
