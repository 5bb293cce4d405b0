package state

import (
	"fmt"
	"unsafe"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// checkpoint writes the committed entries that the engine does not have.
func (s *rowCache) checkpoint(b engine.Batch) error {
	if len(s.pending) == 0 {
		return nil
	}
	uncommitted := make(map[uint32]int, len(s.images)) // the image of what is committed
	for i := len(s.images) - 1; i >= 0; i-- {
		if s.images[i].commit {
			uncommitted[s.images[i].index] = i
		}
	}
	table.Sort(&s.base.sorter, s.Table, s.pending)
	for _, index := range s.pending {
		e := s.At(index)
		value, timestamp, present := s.Payload(e), e.Timestamp, e.Has(table.Present)
		if len(uncommitted) > 0 {
			if i, ok := uncommitted[index]; ok {
				value, timestamp, present = s.payload(i), s.images[i].timestamp, s.images[i].present
			}
		}
		s.base.key = append(append(s.base.key[:0], s.prefix...), s.Key(e)...)
		if !present {
			if err := b.Delete(s.base.key); err != nil {
				return err
			}
			continue
		}
		row, err := s.storage.appendTo(layout.AppendTimestamp(s.base.value[:0], timestamp), index, value)
		if err != nil {
			return fmt.Errorf("store %q: encode value: %w", s.base.name, err)
		}
		s.base.value = row
		if err := b.Set(s.base.key, row); err != nil {
			return err
		}
	}
	return nil
}

// checkpointed is called when the batch is committed.
func (s *rowCache) checkpointed() {
	if !s.complete {
		s.dropOrders()
	}
	for _, index := range s.pending {
		e := s.At(index)
		e.Clear(table.DirtyCheckpoint)
		s.freeAbsent(index, e)
	}
	s.pending = s.pending[:0]
	s.waiting = 0
}

// restore applies a row that the changelog has: committed, and not yet in the engine.
func (s *rowCache) restore(key, value []byte, timestamp int64) error {
	hash := s.Hash(key)
	index, found := s.Find(hash, key)
	if !found {
		if s.Len() >= s.limit {
			s.base.tx.makeSpace(s)
		}
		index = s.Insert(hash, key)
		s.unlisted(index)
	}
	e := s.At(index)
	e.Mark(table.Used)
	s.storage.release(s.Payload(e))
	e.Clear(table.Present)
	if value != nil {
		if err := s.storage.load(index, s.Payload(e), value); err != nil {
			return decodeError(s.base.name, "changelog value", err)
		}
		e.Mark(table.Present)
	}
	e.Timestamp = timestamp
	if !s.base.persistent {
		s.freeAbsent(index, e)
		return nil
	}
	if !e.Has(table.DirtyCheckpoint) {
		e.Mark(table.DirtyCheckpoint)
		s.pending = append(s.pending, index)
		s.waiting += s.keyBytes(e) + s.storage.outsideBytes(s.Payload(e))
	}
	return nil
}

// evict frees clean entries that were not used for long.
func (s *rowCache) evict(want int) int {
	if s.base.scans > 0 {
		return 0
	}
	if s.complete {
		s.dropOrders() // each lists everything; otherwise what has to stay
	}
	stays := func(e *table.Entry) bool { return e.Image != 0 || !s.base.persistent && e.Has(table.Present) }
	return s.Evict(want, 2*s.Len(), stays, func(e *table.Entry) {
		if e.Has(table.Present) {
			s.complete = false
		}
		s.storage.release(s.Payload(e))
		s.evicted(s.Key(e))
	})
}

// empty forgets everything, also what is not committed.
func (s *rowCache) empty() {
	s.storage.dropObjects()
	for i := range s.images {
		s.storage.release(s.payload(i))
	}
	s.images, s.imagePayloads, s.drained, s.void = nil, nil, 0, 0
	s.pending = nil
	s.dirty, s.waiting = 0, 0
	s.order, s.times = nil, nil
	s.All(func(index uint32, e *table.Entry) bool {
		s.storage.release(s.Payload(e))
		s.Delete(index)
		return true
	})
	s.complete, s.wholes = true, 0
}

// relieve frees that part of the entries, as far as they are clean, and their memory.
func (s *rowCache) relieve(part float64) error {
	s.evict(int(float64(s.Len())*part) + 1)
	s.compact()
	return nil
}

// compact frees the memory of deleted entries and values, unless the store has changes or a scan in progress.
func (s *rowCache) compact() {
	if len(s.images)+len(s.pending)+len(s.base.dirtyList) > 0 || s.base.scans > 0 {
		return
	}
	s.images, s.imagePayloads, s.pending = nil, nil, nil
	s.dropOrders()
	pins := s.base.tx.pinsOf(s)
	s.Shrink(func(from, to uint32) {
		if v, ok := s.storage.(*boxedValues); ok {
			v.moved(to)
		}
		for _, p := range pins[from] {
			p.index = to
		}
	})
	s.storage.committed(true)
	s.storage.reclaim(false)
	s.Compact(true)
	s.limit = s.Len() // it has to ask for more
}

// memoryBytes is the memory of the table, of the lists and of the values.
func (s *rowCache) memoryBytes() int64 {
	s.counted = s.indexBytes()
	return s.counted + s.storage.bytes()
}

// indexBytes is the memory of the table and of the lists.
func (s *rowCache) indexBytes() int64 {
	n := s.Bytes() + int64(cap(s.images))*int64(unsafe.Sizeof(image{})) + int64(cap(s.imagePayloads))*8 +
		int64(cap(s.pending))*4
	for _, o := range [2]*ordered{s.order, s.times} {
		if o != nil {
			n += int64(cap(o.fresh))*4 + int64(o.tree.Len())*orderedBytes
		}
	}
	return n
}

// orderedBytes is about what an entry of the ordered index takes: its nodes are half full at the least.
const orderedBytes = 8

// count tells the Tx how indexBytes has changed.
func (s *rowCache) count() {
	n := s.indexBytes()
	s.base.tx.grow(n - s.counted)
	s.counted = n
}

func (s *rowCache) waitingBytes() int64 { return s.waiting }
func (s *rowCache) waits() bool         { return len(s.pending) > 0 }

// dirtyBytes takes values that were not encoded yet for average ones.
func (s *rowCache) dirtyBytes() int64 {
	n := s.dirty
	if v, ok := s.storage.(*boxedValues); ok && s.Len() > 0 {
		n += int64(len(s.images)-s.drained) * v.live / int64(s.Len())
	}
	return n
}
