package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// coldRows are the rows of a segment that only the engine has. Rows in memory lie in the engine in the order of
// arrival, which is cheap to write, and read at a start alone. When memory is short the oldest of them become cold:
// they are written once more, by key and time, so that they can be looked up there. It is the same segment: it expires
// as a whole.
//
// Each time that rows become cold they are a part, with a filter of its keys. A crash may leave rows in both places:
// they are found once, since their times and sequences are equal.
type coldRows struct {
	parts []filter
	rows  int64
}

// coldPartsMax is how many parts of a segment have filters.
const coldPartsMax = 16

func (c *coldRows) memoryBytes() (sum int64) {
	if c != nil {
		for _, f := range c.parts {
			sum += int64(len(f))
		}
	}
	return sum
}

// may tells whether a key may have cold rows.
func (c *coldRows) may(hash uint64) bool {
	return slices.ContainsFunc(c.parts, func(f filter) bool { return f.may(hash) })
}

// records is how many rows there are: in memory, and cold ones.
func (b *segmentedLog) records() (n int64) {
	for _, t := range b.live {
		n += int64(t.asLog.count)
		if c := t.asLog.cold; c != nil {
			n += c.rows
		}
	}
	return n
}

// coldReader reads cold rows. Its iterator sees them as they were when it was opened: it is closed before any move.
type coldReader struct {
	log          *segmentedLog
	it           engine.Iterator
	lower, upper []byte
}

func (c *coldReader) close() {
	if c.it != nil {
		_ = c.it.Close() // it has been asked for its error
		c.it = nil
	}
}

// seek goes to the first row of a key in [from, to], and tells whether there may be one.
func (c *coldReader) seek(g *logSegment, key []byte, from, to int64) (ok bool, err error) {
	if !g.cold.may(filterHash(key)) {
		return false, nil
	}
	if c.it == nil {
		rows := append(slices.Clone(c.log.base.prefix), layout.KindExpiring)
		if c.it, err = c.log.base.tx.config.Engine.Iterate(rows, layout.After(rows)); err != nil {
			c.it = nil
			return false, err
		}
	}
	c.lower = appendColdKey(c.log.appendRows(c.lower[:0], g.number), key, max(from, 0), 0)
	c.upper = appendColdKey(c.log.appendRows(c.upper[:0], g.number), key, to, math.MaxUint32)
	return c.it.SeekGE(c.lower), nil
}

// each calls f with the rows of a key in [from, to], in order of time and sequence, until it returns false.
func (c *coldReader) each(g *logSegment, key []byte, from, to int64, f func(chained) (bool, error)) error {
	ok, err := c.seek(g, key, from, to)
	if err != nil || c.it == nil {
		return err
	}
	for ; ok; ok = c.it.Next() {
		c.log.base.visited++
		found := c.it.Key()
		if bytes.Compare(found, c.upper) > 0 {
			break
		}
		if n := len(c.lower); len(found) != n || !bytes.Equal(found[:n-bufferTail], c.lower[:n-bufferTail]) {
			continue // of a longer key
		}
		_, timestamp, sequence, err := splitBufferKey(found)
		if err != nil {
			return err
		}
		if more, err := f(chained{timestamp: timestamp, sequence: sequence}); !more || err != nil {
			return err
		}
	}
	return c.it.Error()
}

// fetch merges the rows of a key in [from, to] into those from first on, which are in memory.
func (c *coldReader) fetch(
	g *logSegment, dst []chained, first int, key []byte, from, to int64,
) ([]chained, error) {
	n := len(dst)
	err := c.each(g, key, from, to, func(r chained) (bool, error) {
		value, err := c.it.Value()
		if err == nil {
			r.value = c.log.base.tx.views.copy(value)
			dst = append(dst, r)
		}
		return true, err
	})
	if err != nil || len(dst) == n {
		return dst, err
	}
	some := dst[first:]
	if !slices.IsSortedFunc(some, compareChained) {
		slices.SortStableFunc(some, compareChained)
	}
	same := func(a, b chained) bool { return a.timestamp == b.timestamp && a.sequence == b.sequence }
	return dst[:first+len(slices.CompactFunc(some, same))], nil
}

func (c *coldReader) has(g *logSegment, key []byte, from, to int64) (found bool, err error) {
	err = c.each(g, key, from, to, func(chained) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// appendColdKey appends the engine's key of a cold row to the beginning of its segment.
func appendColdKey(dst, key []byte, timestamp int64, sequence uint32) []byte {
	dst = append(append(dst, layout.BufferCold), key...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(timestamp))
	return binary.BigEndian.AppendUint32(dst, sequence)
}

// relieve makes that part of the rows cold.
func (b *segmentedLog) relieve(part float64) error {
	return b.spill(int64(float64(b.memoryBytes()) * part))
}

// spill makes rows cold, those of the oldest segments first, until about so many bytes are free.
func (b *segmentedLog) spill(size int64) error {
	if !b.base.persistent || len(b.pending) > 0 {
		return nil
	}
	b.cold.close()
	b.forgetObjects()
	unsaved := map[*logSegment]uint32{}
	for _, a := range b.added {
		unsaved[a.seg]++
	}
	for _, t := range b.live {
		g := t.asLog
		saved, held := g.count-unsaved[g], g.memoryBytes()
		if size <= 0 || saved == 0 {
			continue
		}
		n := saved
		if held > size { // but half of it at least: what stays is copied
			n = max(saved/2, uint32(float64(saved)*float64(size)/float64(held)), 1)
		}
		if err := b.spillRows(g, n); err != nil {
			return fmt.Errorf("store %q: move rows to the engine: %w", b.base.name, err)
		}
		size -= held - g.memoryBytes()
	}
	return nil
}

// spillBatchBytes is about how much of a move is written at once.
const spillBatchBytes = 4 << 20

// spillRows makes the first n rows of a segment cold.
func (b *segmentedLog) spillRows(g *logSegment, n uint32) error {
	keys := b.keysOf(g, n)
	number := 0
	if g.cold != nil {
		number = len(g.cold.parts)
	}
	var f filter
	if number < coldPartsMax {
		f = newFilter(len(keys))
	}
	w := b.base.tx.config.Engine.NewBatch(spillBatchBytes)
	defer func() { w.Close() }() //nolint:errcheck // after Commit it does nothing
	for _, index := range keys {
		key := g.heads.Key(g.heads.At(index))
		if f != nil {
			f.add(filterHash(key))
		}
		for _, row := range g.rowsOfKey(index, n) {
			r := g.row(row)
			b.base.key = appendColdKey(b.appendRows(b.base.key[:0], g.number), key, r.timestamp, r.sequence)
			if err := w.Set(b.base.key, g.bytes.view(r.arenaRef)); err != nil {
				return err
			}
			if w.SizeBytes() < spillBatchBytes {
				continue
			}
			if err := w.Commit(); err != nil {
				return err
			}
			w = b.base.tx.config.Engine.NewBatch(spillBatchBytes)
		}
	}
	if err := b.endSpill(w, g, n, number, f); err != nil {
		return err
	}
	if g.cold == nil {
		g.cold = &coldRows{}
	}
	g.cold.parts = append(g.cold.parts, f)
	g.cold.rows += int64(n)
	b.shorten(g, n)
	return nil
}

// keysOf returns the keys of the first n rows, in order.
func (b *segmentedLog) keysOf(g *logSegment, n uint32) (keys []uint32) {
	seen := make([]bool, g.heads.Len())
	for at := range n {
		if index := g.row(at).entry; !seen[index] {
			seen[index] = true
			keys = append(keys, index)
		}
	}
	table.Sort(&b.base.sorter, g.heads, keys)
	return keys
}

// endSpill writes the part, and takes the rows away from where they lie in the order of arrival.
func (b *segmentedLog) endSpill(w engine.Batch, g *logSegment, n uint32, number int, f filter) error {
	key := append(b.appendRows(nil, g.number), layout.BufferPart)
	part := binary.BigEndian.AppendUint64(nil, uint64(n))
	part = append(binary.BigEndian.AppendUint32(part, b.sequence), f...)
	if err := w.Set(binary.BigEndian.AppendUint32(key, uint32(number)), part); err != nil {
		return err
	}
	var first, last, stays uint32 = math.MaxUint32, 0, math.MaxUint32
	for at := range n {
		first, last = min(first, g.row(at).sequence), max(last, g.row(at).sequence)
	}
	for at := n; at < g.count; at++ {
		stays = min(stays, g.row(at).sequence)
	}
	rows := b.appendRows(nil, g.number)
	if last < stays {
		from, to := binary.BigEndian.AppendUint32(slices.Clone(rows), first), append(slices.Clone(rows), layout.BufferPart)
		if last < sequenceMask {
			to = binary.BigEndian.AppendUint32(rows, last+1)
		}
		if err := w.DeleteRange(from, to); err != nil {
			return err
		}
		return w.Commit()
	}
	for at := range n { // sequences began again from the beginning
		if err := w.Delete(g.appendRowKey(slices.Clone(rows), g.row(at))); err != nil {
			return err
		}
	}
	return w.Commit()
}

// shorten drops the first n rows of a segment from memory.
func (b *segmentedLog) shorten(g *logSegment, n uint32) {
	rest := &logSegment{heads: table.New(b.base.seed, 0, 4)}
	for at := n; at < g.count; at++ {
		r := g.row(at)
		rest.append(g.heads.Key(g.heads.At(r.entry)), g.bytes.view(r.arenaRef), r.timestamp, r.sequence)
	}
	g.heads, g.rows, g.count, g.bytes, g.orders = rest.heads, rest.rows, rest.count, rest.bytes, nil
	for i := range b.added {
		if a := &b.added[i]; a.seg == g {
			a.row -= n
		}
	}
}

// loadCold finds the parts of a segment.
func (b *segmentedLog) loadCold(e engine.Engine, g *logSegment) error {
	parts := append(b.appendRows(nil, g.number), layout.BufferPart)
	it, err := e.Iterate(parts, layout.After(parts))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		part, err := it.Value()
		if err == nil && len(part) < 12 {
			err = fmt.Errorf("part of %d bytes, want at least 12", len(part))
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if g.cold == nil {
			g.cold = &coldRows{}
		}
		g.cold.rows += int64(binary.BigEndian.Uint64(part))
		g.cold.parts = append(g.cold.parts, bytes.Clone(part[12:]))
		b.continueSequence(binary.BigEndian.Uint32(part[8:]))
	}
	return errors.Join(it.Error(), it.Close())
}
