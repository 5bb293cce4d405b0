package state

import (
	"bytes"
	"fmt"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// A load is what a restore has read of one changelog and not yet written: rows as the engine keeps them. They pass by
// the tables, which decode and keep rows, and which would have to hold each until a checkpoint. The last row of a key
// wins.
type load struct {
	base   *storeBase
	store  loadable
	memory *loadMemory
	chunks [][]byte // keys and values
	rows   []loadedRow
	bytes  int // of the chunks
}

// loadedRow is where a row lies.
type loadedRow struct {
	at    uint32 // of its key: number of the chunk and offset in it; the value follows
	key   uint32 // length
	value uint32 // length, or absent
}

// loadMemory is what the loads of a Tx share. They are written one by one.
type loadMemory struct {
	loads  []*load
	free   [][]byte // chunks
	order  []uint32
	sorter table.Sorter
	summed uint32 // depends on what touch has read
}

const (
	absent         = ^uint32(0)
	loadChunkShift = 18
	loadChunkBytes = 1 << loadChunkShift
	// loadedRowBytes is what a row takes beside its key and value, until it is sorted.
	loadedRowBytes = 12 + 4 + 32
	// ingestLeast is from how many bytes on rows are sorted into a table of their own. Fewer go the way of all batches.
	ingestLeast = 1 << 20
)

// loadable is a store whose rows a restore can write to the engine without going through its tables.
type loadable interface {
	untypedStore
	// vacant tells that the tables hold no row: nothing that a load changes behind them.
	vacant() bool
	// loadRow adds a changelog record to a load.
	loadRow(l *load, key, value []byte, timestamp int64) error
	// writeTail writes what the engine keeps behind the rows.
	writeTail(rows engine.Rows) error
	// loaded is called when a load is written.
	tailWritten()
}

// loadOf returns the load of a store that nothing was read of yet; nil: its rows go through the tables.
func (tx *Tx) loadOf(m untypedStore) *load {
	for _, l := range tx.loading.loads {
		if l.base == m.storeBase() {
			return l
		}
	}
	lm, ok := m.(loadable)
	if !ok || !m.storeBase().persistent || !lm.vacant() {
		return nil
	}
	l := &load{base: m.storeBase(), store: lm, memory: &tx.loading}
	tx.loading.loads = append(tx.loading.loads, l)
	return l
}

// add takes a row; a nil value deletes it.
func (l *load) add(s *rowCache, key, value []byte, timestamp int64) error {
	if len(key) > table.KeyBytesMax {
		return longKey(l.base, key)
	}
	r := loadedRow{key: uint32(len(s.prefix) + len(key)), value: absent}
	size := int(r.key)
	if value != nil {
		r.value = uint32(layout.TimestampBytes + len(value))
		size += int(r.value)
	}
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last])+size > cap(l.chunks[last]) {
		l.chunks = append(l.chunks, l.memory.chunk(size))
		last++
		l.bytes += cap(l.chunks[last])
	}
	c := l.chunks[last]
	r.at = uint32(last)<<loadChunkShift | uint32(len(c))
	c = append(append(c, s.prefix...), key...)
	if value != nil {
		c = append(layout.AppendTimestamp(c, timestamp), value...)
	}
	l.chunks[last] = c
	l.rows = append(l.rows, r)
	s.complete = false
	return nil
}

// chunk returns an empty chunk. A row that is larger than others has one of its own.
func (m *loadMemory) chunk(size int) []byte {
	if size > loadChunkBytes {
		return make([]byte, 0, size)
	}
	if n := len(m.free); n > 0 {
		c := m.free[n-1]
		m.free = m.free[:n-1]
		return c
	}
	return make([]byte, 0, loadChunkBytes)
}

// view returns what lies from at on in its chunk.
func (l *load) view(at uint32) []byte { return l.chunks[at>>loadChunkShift][at&(loadChunkBytes-1):] }

func (l *load) keyOf(index uint32) []byte {
	r := &l.rows[index]
	return l.view(r.at)[:r.key:r.key]
}

func (l *load) sizeBytes() int { return l.bytes + len(l.rows)*loadedRowBytes }

// drop forgets the rows and keeps the memory.
func (l *load) drop() {
	for _, c := range l.chunks {
		if cap(c) == loadChunkBytes {
			l.memory.free = append(l.memory.free, c[:0])
		}
	}
	clear(l.chunks)
	l.chunks, l.rows, l.bytes = l.chunks[:0], l.rows[:0], 0
}

// write brings the rows to the engine, together with the store's position where that moved.
func (l *load) write(e engine.Engine, p *position) error {
	if len(l.rows) == 0 {
		return nil // a checkpoint writes the position
	}
	var err error
	if l.bytes >= ingestLeast {
		order := l.sorted()
		err = e.Ingest(func(rows engine.Rows) error { return l.writeTo(rows, p, order) })
	} else {
		b := e.NewBatch(l.bytes + 256)
		defer b.Close() //nolint:errcheck // after Commit it does nothing
		if err = l.writeTo(b, p, l.all()); err == nil {
			err = b.Commit()
		}
	}
	if err != nil {
		return fmt.Errorf("store %q: restore: %w", l.base.name, err)
	}
	if p.waits() {
		p.wrote()
	}
	l.store.tailWritten()
	l.drop()
	return nil
}

// all are the rows as they came.
func (l *load) all() []uint32 {
	order := l.memory.order[:0]
	for i := range l.rows {
		order = append(order, uint32(i))
	}
	l.memory.order = order
	return order
}

// sorted are the rows by their keys. Of those with one key the last remains.
func (l *load) sorted() []uint32 {
	order := l.all()
	l.memory.sorter.Sort(order, l.keyOf)
	n := 0
	for i, index := range order {
		if i+1 < len(order) && bytes.Equal(l.keyOf(index), l.keyOf(order[i+1])) {
			continue
		}
		order[n] = index
		n++
	}
	return order[:n]
}

// writeTo writes position, rows and tail: in this order their keys ascend.
func (l *load) writeTo(rows engine.Rows, p *position, order []uint32) error {
	if p.waits() {
		l.base.key = append(append(l.base.key[:0], l.base.prefix...), layout.KindPosition)
		l.base.value = p.appendRow(l.base.value[:0])
		if err := rows.Set(l.base.key, l.base.value); err != nil {
			return err
		}
	}
	for i, index := range order {
		if i%loadTouchMost == 0 {
			l.touch(order[i:min(i+loadTouchMost, len(order))])
		}
		if err := l.writeRow(rows, index); err != nil {
			return err
		}
	}
	return l.store.writeTail(rows)
}

func (l *load) writeRow(rows engine.Rows, index uint32) error {
	r := &l.rows[index]
	b := l.view(r.at)
	if r.value == absent {
		return rows.Delete(b[:r.key])
	}
	return rows.Set(b[:r.key], b[r.key:r.key+r.value])
}

// loadTouchMost is how many rows are read ahead of their turn, so that their cache misses overlap.
const loadTouchMost = 32

// touch reads the cache lines of rows that are not near each other.
func (l *load) touch(indexes []uint32) {
	sum := l.memory.summed
	for _, index := range indexes {
		r := &l.rows[index]
		size := r.key
		if r.value != absent {
			size += r.value
		}
		sum += prefetchValue(l.view(r.at)[:size])
	}
	l.memory.summed = sum
}
