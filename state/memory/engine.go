// Package memory is the state engine that keeps everything in memory: a copy-on-write B-tree. Snapshots and iterators
// are copies of its root. A crash leaves nothing of it, which is a prefix of the commits as every engine promises.
package memory

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"thalweg/state/engine"
)

type row struct{ key, value []byte }

func less(a, b row) bool { return bytes.Compare(a.key, b.key) < 0 }

// Engine is an engine in memory. Use New.
type Engine struct {
	mu     sync.RWMutex
	rows   *btree.BTreeG[row]
	bytes  int64
	closed atomic.Bool
}

var _ engine.Engine = (*Engine)(nil)

// New returns an empty engine.
func New() *Engine { return &Engine{rows: newTree()} }

func newTree() *btree.BTreeG[row] { return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}) }

// Get appends the value of key to dst.
func (e *Engine) Get(dst, key []byte) ([]byte, bool, error) {
	if e.closed.Load() {
		return dst, false, engine.ErrClosed
	}
	e.mu.RLock()
	r, ok := e.rows.Get(row{key: key})
	e.mu.RUnlock()
	return append(dst, r.value...), ok, nil
}

// GetSorted looks up keys in the rows as they are now.
func (e *Engine) GetSorted(keys [][]byte, found func(number int, value []byte) error) error {
	if e.closed.Load() {
		return engine.ErrClosed
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return getSorted(e.rows, keys, found)
}

func getSorted(rows *btree.BTreeG[row], keys [][]byte, found func(number int, value []byte) error) error {
	var hint btree.PathHint
	for i, key := range keys {
		r, ok := rows.GetHint(row{key: key}, &hint)
		if !ok {
			continue
		}
		if err := found(i, r.value); err != nil {
			return err
		}
	}
	return nil
}

// Iterate iterates over the rows as they are now.
func (e *Engine) Iterate(lower, upper []byte) (engine.Iterator, error) {
	s, err := e.Snapshot()
	if err != nil {
		return nil, err
	}
	return s.Iterate(lower, upper)
}

// Snapshot fixes the rows as they are now.
func (e *Engine) Snapshot() (engine.Snapshot, error) {
	if e.closed.Load() {
		return nil, engine.ErrClosed
	}
	e.mu.Lock() // copying marks the root as shared
	defer e.mu.Unlock()
	return &snapshot{rows: e.rows.Copy()}, nil
}

// NewBatch starts a batch.
func (e *Engine) NewBatch(int) engine.Batch { return &batch{engine: e} }

// Ingest applies rows as one batch.
func (e *Engine) Ingest(write func(engine.Rows) error) error {
	b := e.NewBatch(0)
	defer b.Close() //nolint:errcheck // after Commit it does nothing
	if err := write(b); err != nil {
		return err
	}
	return b.Commit()
}

// Flush has nothing to do.
func (e *Engine) Flush() error {
	if e.closed.Load() {
		return engine.ErrClosed
	}
	return nil
}

// Failed is nil: memory does not fail.
func (e *Engine) Failed() error { return nil }

// Metrics tells the size of the rows.
func (e *Engine) Metrics() engine.Metrics {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return engine.Metrics{MemoryBytes: e.bytes}
}

// Close forgets everything.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return engine.ErrClosed
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rows, e.bytes = newTree(), 0
	return nil
}

// Restart returns an engine with the same rows, and closes this one: what a restart of a process would find on a disk.
func (e *Engine) Restart() *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed.Store(true)
	return &Engine{rows: e.rows.Copy(), bytes: e.bytes}
}

type snapshot struct {
	rows   *btree.BTreeG[row]
	closed bool
}

func (s *snapshot) Get(dst, key []byte) ([]byte, bool, error) {
	if s.closed {
		return dst, false, engine.ErrClosed
	}
	r, ok := s.rows.Get(row{key: key})
	return append(dst, r.value...), ok, nil
}

func (s *snapshot) GetSorted(keys [][]byte, found func(number int, value []byte) error) error {
	if s.closed {
		return engine.ErrClosed
	}
	return getSorted(s.rows, keys, found)
}

func (s *snapshot) Iterate(lower, upper []byte) (engine.Iterator, error) {
	if s.closed {
		return nil, engine.ErrClosed
	}
	return &iterator{it: s.rows.Iter(), lower: lower, upper: upper}, nil
}

func (s *snapshot) Close() error {
	if s.closed {
		return engine.ErrClosed
	}
	s.closed = true
	return nil
}
