// Package engine is the contract between the typed stores and the byte stores that hold them, in the manner of
// database/sql/driver: package state is written against it, and state/pebble and state/memory implement it.
//
// An engine is one ordered map from bytes to bytes, shared by all tasks of a process. Tasks never share keys: each
// writes below a namespace of its own. Writes come in atomic batches. There is no write-ahead log: after a crash an
// engine holds a prefix of the batches that were applied to it (possibly the empty one), and never part of a batch.
// The changelog of a store is its write-ahead log: the position up to which the engine holds the store is written in
// the same batch as the data (package state).
//
// Package statetest holds the conformance suite that every engine passes.
package engine

import (
	"errors"
	"time"
)

// ErrClosed is returned by every method of an engine that was closed.
var ErrClosed = errors.New("state engine: closed")

// A Reader reads one consistent view: the engine's newest state, or a snapshot.
type Reader interface {
	// Get appends the value of key to dst and tells whether the key is there. The returned slice is the caller's.
	Get(dst, key []byte) (value []byte, found bool, err error)

	// GetSorted looks up many keys in one pass. The keys ascend strictly by their bytes, and they stay as they are during
	// the call. found is called in the order of the keys with the number and the value of each key that is there; the
	// value is valid during the call of found and must not be changed. found must not use the Reader. Its error ends the
	// pass and is returned. All answers come from one state, the one at the call.
	GetSorted(keys [][]byte, found func(number int, value []byte) error) error

	// Iterate returns an iterator over the keys in [lower, upper), not yet positioned. A nil bound is open. The
	// iterator sees the state as it was at the call and must be closed. It may keep the bounds until then.
	Iterate(lower, upper []byte) (Iterator, error)
}

// An Iterator walks keys in order. It starts unpositioned. When a positioning method returns false the iterator is
// exhausted, or Error tells what went wrong.
type Iterator interface {
	First() bool
	Last() bool
	// SeekGE goes to the first key that is not below key, SeekLT to the last key below it.
	SeekGE(key []byte) bool
	SeekLT(key []byte) bool
	Next() bool
	Prev() bool
	// Key and Value are valid until the next call on the iterator and must not be changed.
	Key() []byte
	Value() ([]byte, error)
	Error() error
	Close() error
}

// A Batch gathers writes that are applied together or not at all. Later writes win over earlier ones. Keys and values
// are copied. A batch is used by one goroutine.
type Batch interface {
	Set(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange deletes the keys in [lower, upper).
	DeleteRange(lower, upper []byte) error
	// SizeBytes is about how many bytes the batch holds.
	SizeBytes() int
	// Commit applies the batch atomically and ends its life. It makes nothing durable: see Engine.Flush.
	Commit() error
	// Close drops a batch that is not to be committed; after Commit it does nothing.
	Close() error
}

// Rows takes rows in ascending order of their keys. Keys and values are copied.
type Rows interface {
	Set(key, value []byte) error
	Delete(key []byte) error
}

// A Snapshot is a Reader of the state at one moment. It must be closed.
type Snapshot interface {
	Reader
	Close() error
}

// An Engine is an ordered byte store. Its methods are safe for concurrent use.
type Engine interface {
	Reader

	// NewBatch starts a batch; sizeHintBytes may be 0. Keys set in ascending order are cheaper in a large batch.
	NewBatch(sizeHintBytes int) Batch

	// Ingest applies the rows that write gives as one atomic batch, past the memory in which batches gather: it is for
	// many megabytes. Keys must ascend strictly. An error of write is returned, and then nothing is applied. After a
	// crash the engine may have the rows and lack an earlier batch of other keys. It never has the rows without the
	// earlier batches that have one of their keys, or a range over one.
	Ingest(write func(Rows) error) error

	// Snapshot fixes the newest state for reading.
	Snapshot() (Snapshot, error)

	// Flush makes everything that was committed durable: it survives the loss of power.
	Flush() error

	// Failed is the [Failure] after which the engine's answers are not to be trusted; nil: there was none. It is for
	// callers whose own callers may have passed over an error.
	Failed() error

	// Metrics tells what the engine uses at the moment.
	Metrics() Metrics

	// Close flushes and closes. Iterators and snapshots must be closed before.
	Close() error
}

// Metrics are an engine's figures at one moment.
type Metrics struct {
	MemoryBytes       int64 // caches and memtables in memory
	DiskBytes         int64 // files on disk
	CacheHits         int64 // block cache, since the engine was opened
	CacheMisses       int64
	FilterHits        int64 // tables of which a filter said that they do not have a key, since the engine was opened
	FilterMisses      int64 // tables that were read because their filters could not say that
	Flushes           int64 // memtables written to disk since the engine was opened
	Compactions       int64
	ReadAmplification int64         // sorted runs that a read may have to look at
	WriteStalls       int64         // times that writes had to wait for compaction
	WaitingWrites     int64         // writes of files that wait now, because the disk is full
	DiskFullTime      time.Duration // that the disk has been full since the engine was opened
}
