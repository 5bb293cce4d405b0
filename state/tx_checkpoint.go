package state

import (
	"fmt"
	"time"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Checkpoint writes everything that is committed to the engine now, in one batch with the positions.
func (tx *Tx) Checkpoint() error { return tx.checkpoint(syncedEvery) }

// checkpoint is Checkpoint, with how much older the times in the engine may stay.
func (tx *Tx) checkpoint(every time.Duration) error {
	tx.commits, tx.early = 0, false
	if tx.config.Engine == nil {
		return nil
	}
	for _, p := range tx.positions {
		p.age(tx.synced, every)
	}
	if !tx.behind() {
		return nil
	}
	b := tx.config.Engine.NewBatch(int(tx.waitingBytes()))
	defer b.Close() //nolint:errcheck // after Commit it does nothing
	for _, m := range tx.stores {
		if err := tx.write(m, b); err != nil {
			return fmt.Errorf("checkpoint of store %q: %w", m.storeBase().name, err)
		}
	}
	if err := b.Commit(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	tx.stuck = 0 // what is in the engine can go
	for _, m := range tx.stores {
		for t := range m.caches {
			t.checkpointed()
		}
		if p, ok := m.(expirer); ok {
			p.deletesWritten()
		}
		if p := tx.positions[m.storeBase().name]; p.waits() {
			p.wrote()
		}
	}
	return nil
}

func (tx *Tx) behind() bool {
	for _, m := range tx.stores {
		r := m.storeBase()
		if p := tx.positions[r.name]; r.persistent && p.waits() {
			return true
		}
		for t := range m.caches {
			if t.waits() {
				return true
			}
		}
		if p, ok := m.(expirer); ok && r.persistent && p.hasDeletes() {
			return true
		}
	}
	return false
}

func (tx *Tx) write(m untypedStore, b engine.Batch) error {
	r := m.storeBase()
	if !r.persistent {
		return nil
	}
	if p, ok := m.(expirer); ok {
		if err := p.writeDeletes(b); err != nil {
			return err
		}
	}
	for t := range m.caches {
		if err := t.checkpoint(b); err != nil {
			return err
		}
	}
	if p := tx.positions[r.name]; p.waits() {
		r.key = append(append(r.key[:0], r.prefix...), layout.KindPosition)
		r.value = p.appendRow(r.value[:0])
		return b.Set(r.key, r.value)
	}
	return nil
}

// Wipe empties a store, in memory and in the engine, and forgets its position. What was not committed in it is lost.
func (tx *Tx) Wipe(store string) error {
	m, ok := tx.byName[store]
	if !ok {
		return fmt.Errorf("store %q: wipe: it is not open", store)
	}
	r := m.storeBase()
	r.dropDirtyList()
	for _, l := range tx.loading.loads {
		if l.base == r {
			l.drop()
		}
	}
	for t := range m.caches {
		t.empty()
	}
	if p, ok := m.untypedStore.(expirer); ok {
		p.wiped()
	}
	tx.positions[store].forget()
	if !r.persistent {
		return nil
	}
	return EraseSaved(tx.config.Engine, tx.config.Namespace, store)
}
