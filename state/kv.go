package state

import (
	"errors"
	"iter"
)

var errUnbuilt = errors.New("state: not built yet")

// Entry is one key of a store with its value and the value's timestamp in milliseconds.
type Entry[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64
}

// Flushed tells what became of one key between two flushes. The store owns it: it is valid during the call.
type Flushed[K, V any] struct {
	Key            K
	Old, New       V // Old is set only for a listener that asked for it; it is a value of its own
	HasOld, HasNew bool
	Timestamp      int64 // of the last change, also of a deletion
}

// Ref is a key's place in a store, between Find and the next call that may move it: any but Value, Set and Remove.
type Ref uint32

// KVStore is a task's instance of a key-value store. It belongs to the goroutine that runs the task.
//
// Values handed out belong to the store where their type holds pointers: change one in place only to Put it back.
type KVStore[K, V any] struct{}

func openKV[K, V any](tx *Tx, s KV[K, V]) (*KVStore[K, V], error) { return nil, errUnbuilt }

// Get returns the value of key with its timestamp.
func (st *KVStore[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	err = errUnbuilt
	return
}

// Put sets the value of key; a null value deletes it.
func (st *KVStore[K, V]) Put(key K, value V, timestamp int64) error { return errUnbuilt }

// Delete removes key; the timestamp goes with the tombstone.
func (st *KVStore[K, V]) Delete(key K, timestamp int64) error { return errUnbuilt }

// Find is the fast path of aggregates: one hash and one probe find the key or make its place; Value, Set and Remove
// work on the place.
func (st *KVStore[K, V]) Find(key K) (Ref, error) { return 0, errUnbuilt }

// Value returns what stands at the place.
func (st *KVStore[K, V]) Value(r Ref) (value V, timestamp int64, ok bool, err error) {
	err = errUnbuilt
	return
}

// Set sets the value at the place; a null value removes it.
func (st *KVStore[K, V]) Set(r Ref, value V, timestamp int64) error { return errUnbuilt }

// Remove deletes the key at the place.
func (st *KVStore[K, V]) Remove(r Ref, timestamp int64) error { return errUnbuilt }

// All yields every key in ascending order of its bytes. A failure is yielded as the last pair's error.
func (st *KVStore[K, V]) All() iter.Seq2[Entry[K, V], error] { return nil }

// AllReverse is All in descending order.
func (st *KVStore[K, V]) AllReverse() iter.Seq2[Entry[K, V], error] { return nil }

// Range yields the keys from from to to, both included, in ascending order of their bytes.
func (st *KVStore[K, V]) Range(from, to K) iter.Seq2[Entry[K, V], error] { return nil }

// RangeReverse is Range in descending order.
func (st *KVStore[K, V]) RangeReverse(from, to K) iter.Seq2[Entry[K, V], error] { return nil }

// RangeBytes yields the keys whose bytes lie in [lower, upper); nil is open.
func (st *KVStore[K, V]) RangeBytes(lower, upper []byte, reverse bool) iter.Seq2[Entry[K, V], error] {
	return nil
}

// Prefix yields the keys whose bytes begin with prefix, in ascending order.
func (st *KVStore[K, V]) Prefix(prefix []byte) iter.Seq2[Entry[K, V], error] { return nil }

// OnFlush makes the store emit on commit: Tx.Flush calls f once for each key that changed since the last flush, in
// the order of each key's last change. Stores flush by ascending rank: upstream first. withOld fills Flushed.Old.
func (st *KVStore[K, V]) OnFlush(rank int, withOld bool, f func(*Flushed[K, V]) error) {}
