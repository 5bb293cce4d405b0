package state

import (
	"iter"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// Entry is one key of a store with its value and the value's timestamp in milliseconds.
type Entry[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64
}

// Flushed is the change of one key between two flushes. The store owns it: it is valid during the call.
type Flushed[K, V any] struct {
	Key            K
	Start, End     int64 // of the window or session
	Old, New       V     // Old is set only for a listener that asked for it; it is a value of its own
	HasOld, HasNew bool
	Timestamp      int64 // of the last change, also of a deletion
}

// Ref refers to a key's entry in a store. It is valid from Find to the next call on the store other than Value, Set and
// Remove.
type Ref uint32

// KVStore is a task's instance of a key-value store. It belongs to the goroutine that runs the task.
//
// Values handed out belong to the store where their type holds pointers: change one in place only to Put it back.
type KVStore[K, V any] struct {
	base    *storeBase
	cache   typedCache[V]
	keys    keyCodec[K]
	nilable bool
	out     Flushed[K, V]
}

func openKV[K, V any](tx *Tx, n name) (*KVStore[K, V], error) {
	if st, found, err := reopen[*KVStore[K, V]](tx, n.Name()); found {
		return st, err
	}
	r, err := tx.newStoreBase(n)
	if err != nil {
		return nil, err
	}
	c := codecOf[K, V](n)
	st := &KVStore[K, V]{base: r, keys: newKeyCodec(c.keys), nilable: serde.IsNilable[V]()}
	openTypedCache(&st.cache, r, r.keyRows(), 0, serde.Local(c.values))
	return st, tx.enroll(&keyed{r, st.cache.rows}, st)
}

// Get returns the value of key with its timestamp.
func (st *KVStore[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return value, 0, false, keyError(st.base, err)
	}
	index, ok, err := st.cache.rows.lookup(b)
	if !ok {
		return value, 0, false, err
	}
	return cachedValue(&st.cache, index)
}

// GetAll yields those of the keys that are there, in the order in which they are given; a key that is given twice is
// yielded twice. What is not in memory is read from the engine together, as far as it fits into the cache. The store
// may be changed meanwhile: each key is looked up when its turn comes. A failure is yielded as the last pair's error.
//
//go:noinline // see package comment
func (st *KVStore[K, V]) GetAll[E Entry[K, V]](keys []K) iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		for ready := 0; len(keys) > 0; keys, ready = keys[1:], ready-1 {
			if ready <= 0 {
				ready = max(prefetchKeys(st, keys), aheadLeast)
			}
			e := Entry[K, V]{Key: keys[0]}
			var ok bool
			var err error
			e.Value, e.Timestamp, ok, err = st.Get(e.Key)
			if (ok || err != nil) && !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Prefetch reads the rows of keys that will be looked up soon and are not in memory, together, as far as they fit into
// the cache. It changes nothing else: what it does not read, or cannot read, the look-up does. The rows stay in memory
// until they are looked up, or the next call.
func (st *KVStore[K, V]) Prefetch[E Entry[K, V]](keys []K) { prefetchKeys(st, keys) }

// prefetchKeys returns for how many of the keys there is nothing more to do.
func prefetchKeys[K, V any](st *KVStore[K, V], keys []K) int {
	return st.cache.rows.prefetch(len(keys), func(i int) ([]byte, error) { return keyBytes(&st.keys, keys[i]) })
}

// LastEmitted returns what Get did when the listener of OnFlush last got key, and whether that has changed. It is for
// stores whose listener asks for old values; where there is none, nothing ever changes unheard.
func (st *KVStore[K, V]) LastEmitted[E Entry[K, V]](key K) (value V, timestamp int64, ok, changed bool, err error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return value, 0, false, false, keyError(st.base, err)
	}
	index, ok, err := st.cache.rows.lookup(b)
	if !ok {
		return value, 0, false, false, err
	}
	return lastEmitted(&st.cache, index)
}

// Put sets the value of key; a null value deletes it.
func (st *KVStore[K, V]) Put[E Entry[K, V]](key K, value V, timestamp int64) error {
	r, err := st.Find(key)
	if err != nil {
		return err
	}
	return st.Set(r, value, timestamp)
}

// Delete removes key; the timestamp goes with the tombstone.
func (st *KVStore[K, V]) Delete[E Entry[K, V]](key K, timestamp int64) error {
	r, err := st.Find(key)
	if err != nil {
		return err
	}
	st.cache.rows.remove(uint32(r), timestamp)
	if st.base.dirtyFlags&table.DirtyFlush == 0 { // where there is a listener, LastEmitted reports the change
		st.cache.rows.freeUncommitted(uint32(r))
	}
	return nil
}

// Find is the fast path of aggregates: one hash and one probe find the entry of key, or make one without a value.
// Value, Set and Remove then work on the entry.
func (st *KVStore[K, V]) Find[E Entry[K, V]](key K) (Ref, error) {
	b, err := keyBytes(&st.keys, key)
	if err != nil {
		return 0, keyError(st.base, err)
	}
	index, err := st.cache.rows.find(b)
	return Ref(index), err
}

// Value returns the value of the entry with its timestamp.
func (st *KVStore[K, V]) Value[E Entry[K, V]](r Ref) (value V, timestamp int64, ok bool, err error) {
	return cachedValue(&st.cache, uint32(r))
}

// Set sets the value of the entry; a null value deletes the key.
func (st *KVStore[K, V]) Set[E Entry[K, V]](r Ref, value V, timestamp int64) error {
	if isNull(st.nilable, value) {
		return st.Remove(r, timestamp)
	}
	return setValue(&st.cache, uint32(r), value, timestamp)
}

// Remove deletes the key of the entry.
func (st *KVStore[K, V]) Remove[E Entry[K, V]](r Ref, timestamp int64) error {
	st.cache.rows.remove(uint32(r), timestamp)
	return nil
}

// All yields every key in ascending order of its bytes. A failure is yielded as the last pair's error.
//
// The store may be changed during a scan. What is put meanwhile may or may not be seen.
func (st *KVStore[K, V]) All[E Entry[K, V]]() iter.Seq2[Entry[K, V], error] {
	return st.RangeBytes(nil, nil, false)
}

// AllReverse is All in descending order.
func (st *KVStore[K, V]) AllReverse[E Entry[K, V]]() iter.Seq2[Entry[K, V], error] {
	return st.RangeBytes(nil, nil, true)
}

// Range yields the keys from from to to, both included, in ascending order of their bytes.
func (st *KVStore[K, V]) Range[E Entry[K, V]](from, to K) iter.Seq2[Entry[K, V], error] {
	return between(st, from, to, false)
}

// RangeReverse is Range in descending order.
func (st *KVStore[K, V]) RangeReverse[E Entry[K, V]](from, to K) iter.Seq2[Entry[K, V], error] {
	return between(st, from, to, true)
}

func between[K, V any](st *KVStore[K, V], from, to K, reverse bool) iter.Seq2[Entry[K, V], error] {
	lower, upper, err := bounds(st.base.name, st.keys.serde, from, to)
	if err != nil {
		return func(yield func(Entry[K, V], error) bool) { yield(Entry[K, V]{}, err) }
	}
	return st.RangeBytes(lower, upper, reverse)
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Prefix yields the keys whose bytes begin with prefix, in ascending order.
func (st *KVStore[K, V]) Prefix[E Entry[K, V]](prefix []byte) iter.Seq2[Entry[K, V], error] {
	return st.RangeBytes(prefix, layout.After(prefix), false)
}

// RangeBytes yields the keys whose bytes lie in [lower, upper); nil is open.
//
//go:noinline // see package comment
func (st *KVStore[K, V]) RangeBytes[E Entry[K, V]](lower, upper []byte, reverse bool) iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		var failed error
		err := st.cache.rows.scan(lower, upper, reverse, func(r row) bool {
			var e Entry[K, V]
			if e.Key, failed = decodeView(&st.keys, r.key, !r.entry, st.base); failed != nil {
				return false
			}
			if e.Value, e.Timestamp, failed = rowValue(&st.cache, r); failed != nil {
				failed = decodeError(st.base.name, "value", failed)
				return false
			}
			return yield(e, nil)
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			yield(Entry[K, V]{}, err)
		}
	}
}

// Ages returns a function that calls yield with the bytes of each key and with the time of the key's last change, in
// milliseconds, in ascending order of the bytes, until yield returns false. The bytes are valid during the call. It
// decodes nothing.
func (st *KVStore[K, V]) Ages[E Entry[K, V]]() func(yield func(key []byte, timestamp int64) bool) error {
	return st.cache.rows.ages()
}

// OnFlush makes the store emit on commit: Tx.Flush calls f once for each key that changed since the last flush, in
// the order of each key's last change. Stores flush by ascending flushOrder: upstream first. withOld fills Flushed.Old.
// A key that was put and deleted between two flushes is not emitted.
func (st *KVStore[K, V]) OnFlush[F ~func(*Flushed[K, V]) error](flushOrder int, withOld bool, f F) {
	st.base.tx.listen(st.base, flushOrder)
	st.cache.rows.emit = func(index uint32) error {
		view, stays := st.cache.rows.view(index)
		return send(&st.cache, &st.keys, index, view, stays, withOld, &st.out, f)
	}
}

// Prefetcher prepares look-ups of keys before they are made; values tells that the values will be looked at, not only
// replaced.
func (st *KVStore[K, V]) Prefetcher[E Entry[K, V]](values bool) func() Prefetcher {
	return st.cache.rows.prefetcher(values)
}

// PrefetcherOf is Prefetcher for look-ups of keys that a record's encoded key and value say: made appends one to dst.
func (st *KVStore[K, V]) PrefetcherOf[E Entry[K, V]](made func(dst, key, value []byte) []byte) func() Prefetcher {
	return st.cache.rows.prefetcherOf(made)
}

// PrefetchOnFlush returns a function that takes the prefetchers of the look-ups that the listener of OnFlush leads to.
// The listener's keys prepare these.
func (st *KVStore[K, V]) PrefetchOnFlush[E Entry[K, V]]() func([]Prefetcher) {
	return st.base.prefetchOnFlush()
}

// keyed is the untyped part of a store that has all keys in one cache.
type keyed struct {
	base *storeBase
	rows *rowCache
}

func (k *keyed) storeBase() *storeBase { return k.base }

func (k *keyed) caches(yield func(cache) bool) { yield(k.rows) }

func (k *keyed) restore(key, value []byte, timestamp int64) error {
	return k.rows.restore(key, value, timestamp)
}

func (k *keyed) vacant() bool { return k.rows.Len() == 0 }

func (k *keyed) loadRow(l *load, key, value []byte, timestamp int64) error {
	return l.add(k.rows, key, value, timestamp)
}

func (k *keyed) writeTail(engine.Rows) error { return nil }
func (k *keyed) tailWritten()                {}

func (k *keyed) begin(e engine.Engine) (err error) {
	k.rows.complete, err = emptyRange(e, k.base.keyRows())
	return err
}
