package pebble

import (
	"sync"
	"sync/atomic"
)

// A look-up of one key goes through an iterator, too, because only an iterator asks the filters of the bottom level.
// Opening an iterator costs a microsecond, so look-ups use it again while the tree is the same. Every commit, flush and
// compaction makes another tree. What is idle is closed then, since it would hold the files of the old one, and what is
// in use is closed when it is given back.

// lookups are the idle iterators over the newest state.
type lookups struct {
	tree atomic.Int64 // counts the changes of the tree
	mu   sync.Mutex
	idle []lookup
}

// lookup is an iterator over a tree, or a newer one.
type lookup struct {
	*iterator
	tree int64
}

// idleLookupsMax bounds what is kept: as many as look up at the same time.
const idleLookupsMax = 16

// borrow returns an iterator over the newest state.
func (e *Engine) borrow() (lookup, error) {
	l := &e.lookups
	tree := l.tree.Load() // before the iterator is opened
	l.mu.Lock()
	for n := len(l.idle); n > 0; n = len(l.idle) {
		it := l.idle[n-1]
		l.idle = l.idle[:n-1]
		if it.tree == tree {
			l.mu.Unlock()
			return it, nil
		}
		if err := it.Close(); err != nil {
			l.mu.Unlock()
			return lookup{}, err
		}
	}
	l.mu.Unlock()
	it, err := e.openLookup(e.db)
	return lookup{it, tree}, err
}

// giveBack ends the use of an iterator.
func (e *Engine) giveBack(it lookup) error {
	l := &e.lookups
	l.mu.Lock()
	if it.err == nil && it.tree == l.tree.Load() && len(l.idle) < idleLookupsMax {
		l.idle = append(l.idle, it)
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	return it.Close()
}

// changed is called after the tree has become another.
func (e *Engine) changed() error {
	l := &e.lookups
	l.tree.Add(1)
	l.mu.Lock()
	idle := l.idle
	l.idle = nil
	l.mu.Unlock()
	var first error
	for _, it := range idle {
		if err := it.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// changedBehind is called when flushes and compactions end, in the midst of Pebble: iterators are closed elsewhere.
func (e *Engine) changedBehind() {
	e.lookups.tree.Add(1)
	go func() {
		if e.enter() == nil {
			defer e.leave()
			_ = e.changed() // its error is the engine's failure
		}
	}()
}

// getNewest looks a key up in the newest state.
func (e *Engine) getNewest(dst, key []byte) ([]byte, bool, error) {
	it, err := e.borrow()
	if err != nil {
		return dst, false, err
	}
	dst, found, err := it.get(dst, key)
	if ended := e.giveBack(it); err == nil {
		err = ended
	}
	return dst, found, err
}

func (i *iterator) get(dst, key []byte) ([]byte, bool, error) {
	if !i.seekKey(key) {
		return dst, false, i.Error()
	}
	value, err := i.Value()
	if err != nil {
		return dst, false, err
	}
	return append(dst, value...), true, nil
}
