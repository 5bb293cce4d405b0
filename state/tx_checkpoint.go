package state

import (
	"fmt"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Checkpoint writes everything that is committed to the engine now, in one batch with the positions.
func (tx *Tx) Checkpoint() error {
	tx.commits = 0
	if tx.config.Engine == nil || !tx.behind() {
		return nil
	}
	b := tx.config.Engine.NewBatch(int(tx.waitingBytes()))
	defer b.Close() //nolint:errcheck // after Commit it does nothing
	for _, m := range tx.members {
		if err := tx.checkpoint(m, b); err != nil {
			return fmt.Errorf("checkpoint of store %q: %w", m.roomOf().name, err)
		}
	}
	if err := b.Commit(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	for _, m := range tx.members {
		for t := range m.tiers {
			t.checkpointed()
		}
		if p, ok := m.(prunable); ok {
			p.pruned()
		}
		tx.positions[m.roomOf().name].saved = true
	}
	return nil
}

func (tx *Tx) behind() bool {
	for _, m := range tx.members {
		r := m.roomOf()
		if p := tx.positions[r.name]; r.persistent && p.known && !p.saved {
			return true
		}
		for t := range m.tiers {
			if t.waits() {
				return true
			}
		}
		if p, ok := m.(prunable); ok && r.persistent && p.doomed() {
			return true
		}
	}
	return false
}

func (tx *Tx) checkpoint(m member, b engine.Batch) error {
	r := m.roomOf()
	if !r.persistent {
		return nil
	}
	if p, ok := m.(prunable); ok {
		if err := p.prune(b); err != nil {
			return err
		}
	}
	for t := range m.tiers {
		if err := t.checkpoint(b); err != nil {
			return err
		}
	}
	if p := tx.positions[r.name]; p.known && !p.saved {
		r.key = append(append(r.key[:0], r.prefix...), layout.KindPosition)
		r.value = layout.AppendPosition(r.value[:0], p.offset)
		return b.Set(r.key, r.value)
	}
	return nil
}

// SavedPosition returns the offset of a store's changelog up to which an engine has the store in a namespace.
func SavedPosition(e engine.Reader, namespace []byte, store string) (offset int64, ok bool, err error) {
	value, found, err := e.Get(nil, append(layout.Store(nil, namespace, store), layout.KindPosition))
	if err == nil && found {
		offset, err = layout.Position(value)
	}
	if err != nil {
		return 0, false, fmt.Errorf("store %q: position: %w", store, err)
	}
	return offset, found, nil
}

// Wipe empties a store, in memory and in the engine, and forgets its position. What was not committed in it is lost.
func (tx *Tx) Wipe(store string) error {
	m, ok := tx.byName[store]
	if !ok {
		return fmt.Errorf("store %q: wipe: it is not open", store)
	}
	r := m.roomOf()
	r.forget()
	for t := range m.tiers {
		t.empty()
	}
	if p, ok := m.member.(prunable); ok {
		p.wiped()
	}
	*tx.positions[store] = position{}
	if !r.persistent {
		return nil
	}
	b := tx.config.Engine.NewBatch(0)
	defer b.Close() //nolint:errcheck // after Commit it does nothing
	err := b.DeleteRange(r.prefix, layout.StoreEnd(nil, r.prefix))
	if err == nil {
		err = b.Commit()
	}
	if err != nil {
		return fmt.Errorf("store %q: wipe: %w", store, err)
	}
	return nil
}
