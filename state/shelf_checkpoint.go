package state

import (
	"fmt"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// checkpoint writes the committed entries that the engine does not have.
func (s *shelf) checkpoint(b engine.Batch) error {
	if len(s.pending) == 0 {
		return nil
	}
	uncommitted := make(map[uint32]int, len(s.images)) // the image of what is committed
	for i := len(s.images) - 1; i >= 0; i-- {
		if s.images[i].commit {
			uncommitted[s.images[i].index] = i
		}
	}
	table.Sort(&s.room.sorter, s.Table, s.pending)
	for _, index := range s.pending {
		e := s.At(index)
		value, timestamp, present := s.Payload(e), e.Timestamp, e.Has(table.Present)
		if len(uncommitted) > 0 {
			if i, ok := uncommitted[index]; ok {
				value, timestamp, present = s.payload(i), s.images[i].timestamp, s.images[i].present
			}
		}
		s.room.key = append(append(s.room.key[:0], s.prefix...), s.Key(e)...)
		if !present {
			if err := b.Delete(s.room.key); err != nil {
				return err
			}
			continue
		}
		row, err := s.vault.appendTo(layout.AppendTimestamp(s.room.value[:0], timestamp), index, value)
		if err != nil {
			return fmt.Errorf("store %q: encode value: %w", s.room.name, err)
		}
		s.room.value = row
		if err := b.Set(s.room.key, row); err != nil {
			return err
		}
	}
	return nil
}

// checkpointed is called when the batch is committed.
func (s *shelf) checkpointed() {
	if s.order != nil && !s.complete {
		s.dropOrder()
	}
	for _, index := range s.pending {
		e := s.At(index)
		e.Clear(table.DirtyCheckpoint)
		s.bury(index, e)
	}
	s.pending = s.pending[:0]
	s.waiting = 0
}

// restore applies a row that the changelog has: committed, and not yet in the engine.
func (s *shelf) restore(key, value []byte, timestamp int64) error {
	hash := s.Hash(key)
	index, found := s.Find(hash, key)
	if !found {
		if s.Len() >= s.limit {
			s.room.tx.makeRoom(s)
		}
		index = s.Insert(hash, key)
		if s.order != nil {
			s.order.fresh = append(s.order.fresh, index)
		}
	}
	e := s.At(index)
	e.Mark(table.Used)
	s.vault.release(s.Payload(e))
	e.Clear(table.Present)
	if value != nil {
		if err := s.vault.load(index, s.Payload(e), value); err != nil {
			return decodeError(s.room.name, "changelog value", err)
		}
		e.Mark(table.Present)
	}
	e.Timestamp = timestamp
	if !s.room.persistent {
		s.bury(index, e)
		return nil
	}
	if !e.Has(table.DirtyCheckpoint) {
		e.Mark(table.DirtyCheckpoint)
		s.pending = append(s.pending, index)
		s.waiting += s.keyBytes(e) + s.vault.outside(s.Payload(e))
	}
	return nil
}

// evict frees clean entries that were not used for long.
func (s *shelf) evict(want int) int {
	if s.sealed > 0 || s.room.scans > 0 {
		return 0 // drained entries look clean
	}
	if s.order != nil && len(s.changed)+len(s.pending) < s.Len() {
		s.dropOrder()
	}
	present := func(e *table.Entry) bool { return !s.room.persistent && e.Has(table.Present) }
	return s.Evict(want, 2*s.Len(), present, func(e *table.Entry) {
		if e.Has(table.Present) {
			s.complete = false
		}
		s.vault.release(s.Payload(e))
	})
}

// empty forgets everything, also what is not committed.
func (s *shelf) empty() {
	s.vault.forget()
	for i := range s.images {
		s.vault.release(s.payload(i))
	}
	s.images, s.kept, s.sealed = nil, nil, 0
	s.changed, s.drained, s.pending = nil, nil, nil
	s.dirty, s.waiting = 0, 0
	s.order = nil
	s.All(func(index uint32, e *table.Entry) bool {
		s.vault.release(s.Payload(e))
		s.Delete(index)
		return true
	})
	s.complete = true
}

func (s *shelf) memoryBytes() int64 {
	return s.LiveBytes() + s.vault.bytes() + int64(cap(s.images)+cap(s.kept)+cap(s.changed)+cap(s.pending))*8
}

func (s *shelf) grant(entries int)   { s.limit = s.Len() + entries }
func (s *shelf) entries() int        { return s.Len() }
func (s *shelf) dirtyBytes() int64   { return s.dirty }
func (s *shelf) waitingBytes() int64 { return s.waiting }
func (s *shelf) waits() bool         { return len(s.pending) > 0 }
