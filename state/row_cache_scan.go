package state

import (
	"bytes"
	"fmt"
	"slices"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// ordered is an index of a table's entries: by key, or by the times in which their keys end, then by key. It is made
// when a scan first asks for it: of all entries where the table is complete, else of those that the engine does not
// have yet. An entry that is not marked as listed is in none, or waits to be.
type ordered struct {
	tree  table.Tree
	tail  int      // bytes at the end of a key that come before the others
	pivot []byte   // the key that pivotIndex stands for in a seek
	fresh []uint32 // entries that may have to be listed
}

const pivotIndex = ^uint32(0)

func (o *ordered) compare(a, b []byte) int {
	headA, headB := len(a)-o.tail, len(b)-o.tail
	if order := bytes.Compare(a[headA:], b[headB:]); order != 0 && o.tail > 0 {
		return order
	}
	return bytes.Compare(a[:headA], b[:headB])
}

func (s *rowCache) orderKey(o *ordered, index uint32) []byte {
	if index == pivotIndex {
		return o.pivot
	}
	return s.Key(s.At(index))
}

// sorted returns the index by key, up to date.
func (s *rowCache) sorted() *ordered {
	if s.order == nil {
		s.order = s.newOrder(0)
	}
	return s.upToDate(s.order)
}

// timed returns the index by the times in which keys end, up to date.
func (s *rowCache) timed() *ordered {
	if s.times == nil {
		s.times = s.newOrder(s.tail)
	}
	return s.upToDate(s.times)
}

func (s *rowCache) newOrder(tail int) *ordered {
	o := &ordered{tail: tail}
	o.tree = table.NewTree(func(a, b uint32) bool { return o.compare(s.orderKey(o, a), s.orderKey(o, b)) < 0 })
	if !s.complete {
		o.fresh = append(o.fresh, s.pending...)
		for i := range s.images {
			if !s.images[i].void {
				o.fresh = append(o.fresh, s.images[i].index)
			}
		}
		return o
	}
	all := make([]uint32, 0, s.Len())
	s.All(func(index uint32, _ *table.Entry) bool {
		all = append(all, index)
		return true
	})
	table.Sort(&s.base.sorter, s.Table, all)
	if tail > 0 {
		slices.SortStableFunc(all, func(a, b uint32) int { return o.compare(s.orderKey(o, a), s.orderKey(o, b)) })
	}
	for _, index := range all {
		s.At(index).Mark(table.Listed)
		o.tree.Load(index)
	}
	return o
}

func (s *rowCache) upToDate(o *ordered) *ordered {
	for _, index := range o.fresh {
		e := s.At(index)
		if !e.InUse() || !s.complete && !unsavedEntry(e) {
			continue
		}
		e.Mark(table.Listed)
		o.tree.Set(index)
	}
	o.fresh = o.fresh[:0]
	return o
}

// unsavedEntry tells whether the engine may have something else than the entry.
func unsavedEntry(e *table.Entry) bool { return e.Has(table.Dirty) || e.Image != 0 }

// freshMin is how many entries may wait to be listed in any case. Where more wait than there are nobody scans any more.
const freshMin = 1024

// unlisted notes an entry that the indexes may have to list.
func (s *rowCache) unlisted(index uint32) {
	if s.order != nil || s.times != nil {
		s.awaitListing(index)
	}
}

func (s *rowCache) awaitListing(index uint32) {
	for _, o := range [2]*ordered{s.order, s.times} {
		if o == nil {
			continue
		}
		if len(o.fresh) > freshMin+2*s.Len() {
			s.dropOrders()
			return
		}
		o.fresh = append(o.fresh, index)
	}
}

// unlist takes an entry out of the indexes.
func (s *rowCache) unlist(index uint32) {
	for _, o := range [2]*ordered{s.order, s.times} {
		if o != nil {
			o.tree.Delete(index)
		}
	}
}

func (s *rowCache) dropOrders() {
	for _, o := range [2]*ordered{s.order, s.times} {
		if o != nil {
			o.tree.Scan(func(index uint32) bool {
				s.At(index).Clear(table.Listed)
				return true
			})
		}
	}
	s.order, s.times = nil, nil
}

// row is what a scan yields: an entry of the cache, or a row of the engine.
type row struct {
	key       []byte
	index     uint32 // valid when entry is set
	entry     bool
	value     []byte
	timestamp int64
}

// scan calls yield for the rows whose keys lie in [lower, upper), in order, until it returns false. Views are valid
// during the call.
func (s *rowCache) scan(lower, upper []byte, reverse bool, yield func(row) bool) error {
	if lower != nil && upper != nil && bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	m := &merge{cache: s, order: s.sorted(), reverse: reverse}
	m.entries = m.order.tree.Walk()
	s.base.scans++
	defer func() {
		m.entries.Release()
		s.base.endScan()
	}()
	if !s.complete {
		if err := m.open(lower, upper); err != nil {
			return fmt.Errorf("store %q: scan: %w", s.base.name, err)
		}
		defer m.rows.Close() //nolint:errcheck // nothing was written
	}
	m.startEntries(lower, upper)
	for {
		r, ok, err := m.next(lower, upper)
		if err != nil {
			return fmt.Errorf("store %q: scan: %w", s.base.name, err)
		}
		if !ok || !yield(r) {
			return nil
		}
	}
}

// ages returns a scan of all keys and the times of their last changes.
//
//go:noinline // see package comment
func (s *rowCache) ages() func(yield func(key []byte, timestamp int64) bool) error {
	return func(yield func([]byte, int64) bool) error {
		return s.scan(nil, nil, false, func(r row) bool {
			if r.entry {
				r.timestamp = s.At(r.index).Timestamp
			}
			return yield(r.key, r.timestamp)
		})
	}
}

// scanTimes calls yield for the rows whose keys end in [lower, upper], by these ends, then by key, until it returns
// false. The table must be complete.
func (s *rowCache) scanTimes(lower, upper []byte, yield func(row) bool) {
	o := s.timed()
	entries := o.tree.Walk()
	s.base.scans++
	defer func() {
		entries.Release()
		s.base.endScan()
	}()
	o.pivot = lower
	for ok := entries.Seek(pivotIndex); ok; ok = entries.Next() {
		s.base.visited++
		r := row{index: entries.Item(), entry: true}
		r.key = s.Key(s.At(r.index))
		if bytes.Compare(r.key[len(r.key)-s.tail:], upper) > 0 || s.present(r.index) && !yield(r) {
			return
		}
	}
}

// merge walks the index and the engine side by side; where both have a key the index wins.
type merge struct {
	cache   *rowCache
	order   *ordered
	reverse bool
	entries table.Walk
	more    bool // entries stands on one
	rows    engine.Iterator
	onRow   bool
}

func (m *merge) open(lower, upper []byte) error {
	s := m.cache
	from := append(append([]byte(nil), s.prefix...), lower...)
	to := layout.After(s.prefix)
	if upper != nil {
		to = append(append([]byte(nil), s.prefix...), upper...)
	}
	rows, err := s.base.tx.config.Engine.Iterate(from, to)
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
	s := m.cache
	for {
		s.base.visited++
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
	base := m.cache.base
	key := m.rows.Key()[len(m.cache.prefix):]
	both := base.tx.views.copy(key)
	kept := base.tx.views.copy(value)
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
