package state

import (
	"bytes"
	"fmt"

	"github.com/tidwall/btree"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// ordered is the index of a shelf's entries by key. It is made when a scan first asks for it: of all entries where the
// shelf is complete, else of those that the engine does not have yet.
type ordered struct {
	tree  any      // see treeOf
	pivot []byte   // the key that pivotIndex stands for in a seek
	fresh []uint32 // entries that may have to be listed
}

const pivotIndex = ^uint32(0)

// treeOf is the index's tree. The field hides its type, since every package that mentions a Tx would compile the whole
// tree otherwise.
func treeOf(o *ordered) *btree.BTreeG[uint32] { return o.tree.(*btree.BTreeG[uint32]) }

func (o *ordered) remove(index uint32) { treeOf(o).Delete(index) }

func (s *shelf) orderKey(o *ordered, index uint32) []byte {
	if index == pivotIndex {
		return o.pivot
	}
	return s.Key(s.At(index))
}

// sorted returns the index, up to date.
func (s *shelf) sorted() *ordered {
	o := s.order
	if o == nil {
		o = &ordered{}
		less := func(a, b uint32) bool { return bytes.Compare(s.orderKey(o, a), s.orderKey(o, b)) < 0 }
		tree := btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
		o.tree, s.order = tree, o
		if s.complete {
			all := make([]uint32, 0, s.Len())
			s.All(func(index uint32, _ *table.Entry) bool {
				all = append(all, index)
				return true
			})
			table.Sort(&s.room.sorter, s.Table, all)
			for _, index := range all {
				s.At(index).Mark(table.Listed)
				tree.Load(index)
			}
			return o
		}
		o.fresh = append(append(append(o.fresh, s.pending...), s.drained...), s.changed...)
	}
	for _, index := range o.fresh {
		e := s.At(index)
		if !e.InUse() || e.Has(table.Listed) || !s.complete && !s.unsavedEntry(e) {
			continue
		}
		e.Mark(table.Listed)
		treeOf(o).Set(index)
	}
	o.fresh = o.fresh[:0]
	return o
}

// unsavedEntry tells whether the engine may have something else than the entry.
func (s *shelf) unsavedEntry(e *table.Entry) bool { return e.Has(table.Dirty) || s.sealed > 0 }

func (s *shelf) dropOrder() {
	if s.order == nil {
		return
	}
	treeOf(s.order).Scan(func(index uint32) bool {
		s.At(index).Clear(table.Listed)
		return true
	})
	s.order = nil
}

// row is what a scan yields: an entry of the shelf, or a row of the engine.
type row struct {
	key       []byte
	index     uint32 // valid when entry is set
	entry     bool
	value     []byte
	timestamp int64
}

// scan calls yield for the rows whose keys lie in [lower, upper), in order, until it returns false. Views are valid
// during the call.
func (s *shelf) scan(lower, upper []byte, reverse bool, yield func(row) bool) error {
	if lower != nil && upper != nil && bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	m := &merge{shelf: s, order: s.sorted(), reverse: reverse}
	m.entries = treeOf(m.order).Copy().Iter()
	s.room.scans++
	defer func() {
		m.entries.Release()
		s.room.scans--
	}()
	if !s.complete {
		if err := m.open(lower, upper); err != nil {
			return fmt.Errorf("store %q: scan: %w", s.room.name, err)
		}
		defer m.rows.Close() //nolint:errcheck // nothing was written
	}
	m.startEntries(lower, upper)
	for {
		r, ok, err := m.next(lower, upper)
		if err != nil {
			return fmt.Errorf("store %q: scan: %w", s.room.name, err)
		}
		if !ok || !yield(r) {
			return nil
		}
	}
}

// merge walks the index and the engine side by side; where both have a key the index wins.
type merge struct {
	shelf   *shelf
	order   *ordered
	reverse bool
	entries btree.IterG[uint32]
	more    bool // entries stands on one
	rows    engine.Iterator
	onRow   bool
}

func (m *merge) open(lower, upper []byte) error {
	s := m.shelf
	from := append(append([]byte(nil), s.prefix...), lower...)
	to := layout.After(s.prefix)
	if upper != nil {
		to = append(append([]byte(nil), s.prefix...), upper...)
	}
	rows, err := s.room.tx.config.Engine.Iterate(from, to)
	if err != nil {
		return err
	}
	m.rows = rows
	if m.reverse {
		m.onRow = rows.Last()
	} else {
		m.onRow = rows.First()
	}
	return rows.Error()
}

func (m *merge) startEntries(lower, upper []byte) {
	switch {
	case !m.reverse && lower == nil:
		m.more = m.entries.First()
	case !m.reverse:
		m.order.pivot = lower
		m.more = m.entries.Seek(pivotIndex)
	case upper == nil:
		m.more = m.entries.Last()
	default:
		m.order.pivot = upper
		if m.entries.Seek(pivotIndex) {
			m.more = m.entries.Prev()
		} else {
			m.more = m.entries.Last()
		}
	}
}

func (m *merge) next(lower, upper []byte) (row, bool, error) {
	s := m.shelf
	for {
		var r row
		if m.more {
			r.index, r.entry = m.entries.Item(), true
			r.key = s.Key(s.At(r.index))
			if !m.reverse && upper != nil && bytes.Compare(r.key, upper) >= 0 ||
				m.reverse && lower != nil && bytes.Compare(r.key, lower) < 0 {
				m.more, r.entry = false, false
			}
		}
		if !r.entry && !m.onRow {
			return row{}, false, m.rowError()
		}
		if m.onRow {
			key := m.rows.Key()[len(s.prefix):]
			order := -1
			if r.entry {
				order = bytes.Compare(key, r.key)
				if m.reverse {
					order = -order
				}
			}
			switch {
			case order == 0:
				m.stepRow()
			case order < 0:
				return m.engineRow()
			}
		}
		m.step()
		e := s.At(r.index)
		if e.Has(table.Present) {
			return r, true, m.rowError()
		}
	}
}

// engineRow copies the row, for the iterator moves on.
func (m *merge) engineRow() (row, bool, error) {
	value, err := m.rows.Value()
	if err != nil {
		return row{}, false, err
	}
	room := m.shelf.room
	key := m.rows.Key()[len(m.shelf.prefix):]
	both := room.tx.stable.copy(key)
	kept := room.tx.stable.copy(value)
	timestamp, kept, err := layout.Value(kept)
	if err != nil {
		return row{}, false, err
	}
	m.stepRow()
	return row{key: both, value: kept, timestamp: timestamp}, true, m.rowError()
}

func (m *merge) stepRow() {
	if m.reverse {
		m.onRow = m.rows.Prev()
	} else {
		m.onRow = m.rows.Next()
	}
}

func (m *merge) step() {
	if m.reverse {
		m.more = m.entries.Prev()
	} else {
		m.more = m.entries.Next()
	}
}

func (m *merge) rowError() error {
	if m.rows == nil {
		return nil
	}
	return m.rows.Error()
}
