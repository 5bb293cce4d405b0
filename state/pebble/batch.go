package pebble

import (
	"github.com/cockroachdb/pebble/v2"

	"thalweg/state/engine"
)

type batch struct {
	engine *Engine
	b      *pebble.Batch // nil after the end
}

// NewBatch starts a batch.
func (e *Engine) NewBatch(sizeHintBytes int) engine.Batch {
	if e.enter() != nil {
		return &batch{engine: e}
	}
	defer e.leave()
	return &batch{engine: e, b: e.db.NewBatchWithSize(min(max(sizeHintBytes, 1<<10), maxHintBytes))}
}

// ended is the error of a batch that has ended, or never began.
func (b *batch) ended() error {
	if err := b.engine.Failed(); err != nil {
		return err
	}
	return engine.ErrClosed
}

const maxHintBytes = 64 << 20

func (b *batch) Set(key, value []byte) error {
	if b.b == nil {
		return b.ended()
	}
	op := b.b.SetDeferred(len(key), len(value))
	copy(op.Key, key)
	copy(op.Value, value)
	return op.Finish()
}

func (b *batch) Delete(key []byte) error {
	if b.b == nil {
		return b.ended()
	}
	return b.b.Delete(key, nil)
}

func (b *batch) DeleteRange(lower, upper []byte) error {
	if b.b == nil {
		return b.ended()
	}
	return b.b.DeleteRange(lower, upper, nil)
}

func (b *batch) SizeBytes() int {
	if b.b == nil {
		return 0
	}
	return b.b.Len()
}

func (b *batch) Commit() error {
	if b.b == nil {
		return b.ended()
	}
	if err := b.engine.enter(); err != nil {
		return err
	}
	defer b.engine.leave()
	open := b.b
	err := b.engine.unlessDead(func() error {
		if err := open.Commit(pebble.NoSync); err != nil {
			return err
		}
		return open.Close()
	})
	if err == nil || b.engine.isDead() { // Pebble may still use it
		b.b = nil
	}
	if err == nil {
		err = b.engine.changed()
	}
	return err
}

func (b *batch) Close() error {
	if b.b == nil {
		return nil
	}
	open := b.b
	b.b = nil
	return open.Close()
}
