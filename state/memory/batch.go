package memory

import (
	"bytes"

	"thalweg/state/engine"
)

type change struct {
	row
	upper  []byte // of a range to delete
	delete bool
}

type batch struct {
	engine  *Engine
	changes []change
	bytes   int
	done    bool
}

func (b *batch) Set(key, value []byte) error {
	both := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	n := len(key)
	return b.add(change{row: row{key: both[:n:n], value: both[n:]}})
}

func (b *batch) Delete(key []byte) error {
	return b.add(change{row: row{key: bytes.Clone(key)}, delete: true})
}

func (b *batch) DeleteRange(lower, upper []byte) error {
	return b.add(change{row: row{key: bytes.Clone(lower)}, upper: bytes.Clone(upper), delete: true})
}

func (b *batch) add(c change) error {
	if b.done {
		return engine.ErrClosed
	}
	b.changes = append(b.changes, c)
	b.bytes += len(c.key) + len(c.value) + len(c.upper)
	return nil
}

func (b *batch) SizeBytes() int { return b.bytes }

func (b *batch) Commit() error {
	if b.done || b.engine.closed.Load() {
		return engine.ErrClosed
	}
	b.done = true
	e := b.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range b.changes {
		switch {
		case c.upper != nil:
			e.deleteRange(c.key, c.upper)
		case c.delete:
			if old, ok := e.rows.Delete(c.row); ok {
				e.bytes -= old.size()
			}
		default:
			if old, ok := e.rows.Set(c.row); ok {
				e.bytes -= old.size()
			}
			e.bytes += c.size()
		}
	}
	return nil
}

func (e *Engine) deleteRange(lower, upper []byte) {
	var doomed []row
	e.rows.Ascend(row{key: lower}, func(r row) bool {
		if bytes.Compare(r.key, upper) >= 0 {
			return false
		}
		doomed = append(doomed, r)
		return true
	})
	for _, r := range doomed {
		e.rows.Delete(r)
		e.bytes -= r.size()
	}
}

func (r row) size() int64 { return int64(len(r.key) + len(r.value)) }

func (b *batch) Close() error {
	b.done = true
	return nil
}

var _ engine.Batch = (*batch)(nil)
