package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"thalweg/internal/invariant"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// segmentedLog is the untyped part of a join buffer: its segments, and the list of the rows that were added.
type segmentedLog struct {
	segmentedStore
	sequence uint32 // of the newest row: it distinguishes rows of one key and time, and starts at 1, as in Kafka Streams
	retain   int64  // milliseconds behind the newest row that a restart keeps; 0: all
	restored int64  // the newest time that a restart has found

	added   []addition // since the last commit
	drained int        // so many of added are drained
	pending []addition // committed, and not in the engine
	dirty   int64
	waiting int64
	growth  int64 // bytes that were not reported to the Tx yet

	spare   []*logSegment // heads and rows of released segments, to reuse
	encoded []byte        // scratch
	chain   []chained     // scratch
	touched uint32        // depends on what touch has read
	cold    coldReader
	objects bufferObjects
	forget  func() // drops what objects counts: see forgetObjects
}

// addition is a row of a segment.
type addition struct {
	seg *logSegment
	row uint32
}

// logSegment is the rows of one segment, in the order of arrival.
type logSegment struct {
	segment
	heads *table.Table // key → 1 + its newest row
	rows  [][]logRow
	count uint32
	bytes arena
	gone  bool

	cold   *coldRows             // the rows that only the engine has; nil: none
	orders map[uint32]table.Tree // for keys with many rows, their rows by time: see order
	asked  int64                 // the time to look up in an order
}

// logRow is one record.
type logRow struct {
	arenaRef
	sequence  uint32
	timestamp int64
	entry     uint32 // of the key among the heads
	previous  uint32 // 1 + the key's row before
	late      uint32 // how many milliseconds the newest earlier row of the key is ahead of this one
	object    uint32 // 1 + the index of its decoded value: see BufferStore
}

// highest is the newest time of the row and all earlier rows of its key.
func (r *logRow) highest() int64 { return r.timestamp + int64(r.late) }

const (
	logRowsShift = 10
	// bufferTail is what follows a key in the changelog: time and sequence.
	bufferTail = 12
	// growthStep is how many bytes are reported to the Tx at a time, whose counters all tasks of a process share.
	growthStep = 4 << 10
	// sequences wrap around.
	sequenceMask uint32 = 1<<31 - 1
)

func newSegmentedLog(r *storeBase, retention time.Duration) *segmentedLog {
	b := &segmentedLog{retain: retention.Milliseconds(), forget: func() {}, objects: bufferObjects{max: bufferObjectsMax}}
	b.cold.log = b
	b.segmentedStore = newSegmentedStore(r, retention,
		func(number int64) *segment { return &b.newSegment(number).segment },
		func(t *segment) { b.release(t.asLog) })
	return b
}

func (b *segmentedLog) newSegment(number int64) *logSegment {
	g := &logSegment{segment: segment{number: number}}
	g.asLog = g
	if n := len(b.spare); n > 0 {
		g.heads, g.rows = b.spare[n-1].heads, b.spare[n-1].rows
		g.heads.Reset()
		b.spare = b.spare[:n-1]
	} else {
		g.heads = table.New(b.base.seed, 0, 4)
	}
	if n := len(b.live); n > 0 && b.live[n-1].number < number {
		g.heads.Reserve(b.live[n-1].asLog.heads.Len())
	}
	return g
}

// release frees a segment and keeps its heads and rows for reuse. It does not reuse the bytes of values, since others
// may hold views of them. The list of added rows may still refer to the segment, so it stays behind, marked as gone.
func (b *segmentedLog) release(g *logSegment) {
	if spare := (&logSegment{heads: g.heads, rows: g.rows}); b.spareBytes()+spare.memoryBytes() <= spareBytesMax {
		b.spare = append(b.spare, spare)
	}
	*g = logSegment{segment: g.segment, gone: true}
}

func (b *segmentedLog) spareBytes() (sum int64) {
	for _, g := range b.spare {
		sum += g.memoryBytes()
	}
	return sum
}

func (b *segmentedLog) dropSpare() { b.spare = nil }

func (g *logSegment) row(at uint32) *logRow {
	return &g.rows[at>>logRowsShift][at&(1<<logRowsShift-1)]
}

// newest is 1 + the number of a key's newest row.
func (g *logSegment) newest(index uint32) *uint32 {
	return (*uint32)(g.heads.Payload(g.heads.At(index)))
}

// append adds a row and returns its number.
func (g *logSegment) append(key, value []byte, timestamp int64, sequence uint32) uint32 {
	hash := g.heads.Hash(key)
	index, found := g.heads.Find(hash, key)
	if !found {
		index = g.heads.Insert(hash, key)
	}
	at := g.count
	if int(at>>logRowsShift) == len(g.rows) {
		g.rows = append(g.rows, make([]logRow, 1<<logRowsShift))
	}
	head := g.newest(index)
	r := logRow{
		arenaRef: g.bytes.put(at, value), timestamp: timestamp, sequence: sequence, entry: index, previous: *head,
	}
	if *head != 0 {
		r.late = uint32(max(g.row(*head-1).highest()-timestamp, 0)) // less than a segment: it fits
	}
	*g.row(at) = r
	*head = at + 1
	g.count++
	if len(g.orders) > 0 {
		if order, found := g.orders[index]; found {
			order.Set(at)
		}
	}
	return at
}

// pop takes the newest row off.
func (g *logSegment) pop(at uint32) {
	r := g.row(at)
	if order, found := g.orders[r.entry]; found {
		order.Delete(at)
	}
	g.bytes.release(r.arenaRef)
	*g.newest(r.entry) = r.previous
	g.count--
}

func (b *segmentedLog) add(key, value []byte, timestamp int64) error {
	if len(key) > table.KeyBytesMax {
		return longKey(b.base, key)
	}
	if err := b.base.checkSize(key, bufferTail, len(value)); err != nil {
		return err
	}
	seg, err := b.at(timestamp)
	if err != nil {
		return err
	}
	b.sequence = (b.sequence + 1) & sequenceMask
	at := seg.append(key, value, timestamp, b.sequence)
	b.added = append(b.added, addition{seg, at})
	size := int64(len(key) + len(value) + 64)
	b.dirty += size
	if b.growth += size; b.growth >= growthStep {
		b.base.tx.grow(b.growth)
		b.growth = 0
	}
	return nil
}

// appendKey appends the changelog's key of a row: key, time and sequence.
func (g *logSegment) appendKey(dst []byte, r *logRow) []byte {
	dst = append(dst, g.heads.Key(g.heads.At(r.entry))...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.timestamp))
	return binary.BigEndian.AppendUint32(dst, r.sequence)
}

func splitBufferKey(key []byte) (head []byte, timestamp int64, sequence uint32, err error) {
	n := len(key) - bufferTail
	if n < 0 {
		return nil, 0, 0, fmt.Errorf("key of %d bytes: want a key, 8 bytes of time, 4 of sequence", len(key))
	}
	return key[:n], int64(binary.BigEndian.Uint64(key[n:])), binary.BigEndian.Uint32(key[n+8:]), nil
}

// touch prefetches cache lines: of the rows of keys in the segments of [from, to], and of their newest values if values
// is set.
func (b *segmentedLog) touch(keys [][]byte, from, to int64, values bool) {
	var hashes [table.PrefetchMax]uint64
	some := b.window(from, to)
	for len(keys) > 0 && len(some) > 0 {
		n := min(len(keys), table.PrefetchMax)
		for i, key := range keys[:n] {
			hashes[i] = b.base.hash(key)
		}
		for _, t := range some {
			seg := t.asLog
			b.touched += seg.touch(hashes[:n], values)
		}
		keys = keys[n:]
	}
}

func (g *logSegment) touch(hashes []uint64, values bool) uint32 {
	var near [table.PrefetchMax]*table.Entry
	var rows [table.PrefetchMax]*logRow
	heads, sum := g.heads.Prefetch(hashes, &near)
	n := 0
	for _, e := range near[:heads] {
		if newest := *(*uint32)(g.heads.Payload(e)); newest != 0 {
			rows[n] = g.row(newest - 1)
			n++
		}
	}
	for _, r := range rows[:n] {
		sum += r.size + r.late // the first byte and the last
	}
	if values {
		for _, r := range rows[:n] {
			sum += prefetchValue(g.bytes.view(r.arenaRef))
		}
	}
	return sum
}

// at is segmentedStore.at for a logSegment.
func (b *segmentedLog) at(when int64) (*logSegment, error) {
	t, err := b.segmentedStore.at(when)
	if err != nil {
		return nil, err
	}
	return t.asLog, nil
}

func (b *segmentedLog) storeBase() *storeBase         { return b.base }
func (b *segmentedLog) caches(yield func(cache) bool) { yield(b) }

func (b *segmentedLog) drain(emit func(Store, []byte, []byte, int64) error) error {
	if b.base.logged {
		for _, a := range b.added[b.drained:] {
			r := a.seg.row(a.row)
			b.base.key = a.seg.appendKey(b.base.key[:0], r)
			if err := emit(b.base.store, b.base.key, a.seg.bytes.view(r.arenaRef), r.timestamp); err != nil {
				return err
			}
		}
	}
	b.drained = len(b.added)
	b.waiting += b.dirty
	b.dirty = 0
	return nil
}

func (b *segmentedLog) commit() {
	b.cold.close()
	if b.base.persistent {
		b.pending = append(b.pending, b.added[:b.drained]...)
	}
	invariant.Check(b.drained <= len(b.added), "store %q: more rows drained than added", b.base.name)
	rest := copy(b.added, b.added[b.drained:])
	clear(b.added[rest:])
	b.added, b.drained = b.added[:rest], 0
	b.boundObjects()
}

func (b *segmentedLog) discard() {
	b.cold.close()
	b.forgetObjects() // they may have been changed in place
	for i := len(b.added) - 1; i >= 0; i-- {
		if invariant.Enabled {
			a := b.added[i]
			invariant.Check(a.row == a.seg.count-1, "store %q: row %d of %d is taken back", b.base.name, a.row, a.seg.count)
		}
		b.added[i].seg.pop(b.added[i].row)
	}
	clear(b.added)
	b.added, b.drained, b.dirty = b.added[:0], 0, 0
}

func (b *segmentedLog) waits() bool { return len(b.pending) > 0 }

func (b *segmentedLog) checkpoint(w engine.Batch) error {
	for _, a := range b.pending {
		if a.seg.gone {
			continue
		}
		r := a.seg.row(a.row)
		b.base.key = a.seg.appendRowKey(b.appendRows(b.base.key[:0], a.seg.number), r)
		if err := w.Set(b.base.key, a.seg.bytes.view(r.arenaRef)); err != nil {
			return err
		}
	}
	return nil
}

// appendRowKey appends the engine's key of a row to the beginning of its segment.
func (g *logSegment) appendRowKey(dst []byte, r *logRow) []byte {
	dst = binary.BigEndian.AppendUint32(dst, r.sequence)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.timestamp))
	return append(dst, g.heads.Key(g.heads.At(r.entry))...)
}

func (b *segmentedLog) checkpointed() {
	clear(b.pending)
	b.pending, b.waiting = b.pending[:0], 0
}

func (b *segmentedLog) writeDeletes(w engine.Batch) error {
	writes := map[*logSegment]bool{}
	for _, a := range b.pending {
		writes[a.seg] = true
	}
	return b.writeRangeDeletes(w, func(t *segment) bool { return writes[t.asLog] })
}

// restore adds a row that the changelog has.
func (b *segmentedLog) restore(key, value []byte, _ int64) error {
	head, timestamp, sequence, err := splitBufferKey(key)
	if err != nil {
		return fmt.Errorf("store %q: changelog %w", b.base.name, err)
	}
	if value == nil {
		return nil // nothing is ever deleted
	}
	b.expireBehind(timestamp)
	segment, err := b.restoring(timestamp)
	if err != nil {
		return ignoreExpired(err)
	}
	seg := segment.asLog
	if seg.has(head, timestamp, sequence) {
		return nil // the engine had it
	}
	at := seg.append(head, value, timestamp, sequence)
	b.continueSequence(sequence)
	if b.base.persistent {
		b.pending = append(b.pending, addition{seg, at})
		b.waiting += int64(len(key) + len(value) + 64)
	}
	return nil
}

// expireBehind expires the rows that are too old once a restart has found a row of that time. A changelog goes back
// further than any look-up.
func (b *segmentedLog) expireBehind(timestamp int64) {
	if b.retain == 0 || timestamp <= b.restored {
		return
	}
	b.restored = timestamp
	b.expire(timestamp - b.retain + 1)
	b.endDrain()
	b.endCommit()
}

// continueSequence continues after the sequence of a row that a restart has found, unless it is an old one: Kafka
// Streams starts at 1 again with each start.
func (b *segmentedLog) continueSequence(sequence uint32) {
	if (sequence-b.sequence)&sequenceMask < sequenceMask/2 {
		b.sequence = sequence
	}
}

// has reports whether a row exists, because a restore may repeat a part of the changelog. Sequences only grow, so it
// looks no further back than where the row would be.
func (g *logSegment) has(key []byte, timestamp int64, sequence uint32) bool {
	index, found := g.heads.Find(g.heads.Hash(key), key)
	if !found {
		return false
	}
	for at := *g.newest(index); at != 0; {
		r := g.row(at - 1)
		if r.sequence == sequence && r.timestamp == timestamp {
			return true
		}
		if (sequence-r.sequence)&sequenceMask < sequenceMask/2 {
			return false
		}
		at = r.previous
	}
	return false
}

// begin reads everything that the engine has, except cold rows. The engine keeps rows in the order of arrival
// (sequence, time, key), so that writing them is appending. Nothing looks up a key there.
func (b *segmentedLog) begin(e engine.Engine) error {
	if err := b.load(e); err != nil {
		return err
	}
	for _, t := range slices.Backward(slices.Clone(b.live)) { // the newest first: it shows what is too old
		seg := t.asLog
		if seg.gone {
			continue
		}
		if err := b.fill(e, seg); err != nil {
			return err
		}
	}
	return nil
}

func (b *segmentedLog) fill(e engine.Engine, seg *logSegment) error {
	rows := b.rows(seg.number)
	it, err := e.Iterate(rows, append(slices.Clone(rows), layout.BufferPart))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()[len(rows):]
		if len(key) < bufferTail {
			return errors.Join(fmt.Errorf("row key of %d bytes, want at least %d", len(key), bufferTail), it.Close())
		}
		sequence, timestamp := binary.BigEndian.Uint32(key), int64(binary.BigEndian.Uint64(key[4:]))
		value, err := it.Value()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		seg.append(key[bufferTail:], value, timestamp, sequence)
		b.expireBehind(timestamp)
		b.continueSequence(sequence)
	}
	return errors.Join(it.Error(), it.Close(), b.loadCold(e, seg))
}

func (b *segmentedLog) empty() {
	b.cold.close()
	b.forgetObjects()
	b.added, b.pending, b.drained, b.dirty, b.waiting, b.sequence, b.restored = nil, nil, 0, 0, 0, 0, 0
}

func (b *segmentedLog) memoryBytes() int64 {
	b.growth = 0 // it is in the sum
	sum := int64(b.objects.kept)*b.objectBytes() + int64(cap(b.added)+cap(b.pending))*16
	for _, t := range b.live {
		g := t.asLog
		sum += g.memoryBytes()
	}
	return sum
}

func (g *logSegment) memoryBytes() int64 {
	sum := g.heads.Bytes() + g.bytes.total
	sum += int64(len(g.rows)) << logRowsShift * int64(unsafe.Sizeof(logRow{}))
	for _, order := range g.orders {
		sum += int64(order.Len()) * 8
	}
	return sum + g.cold.memoryBytes()
}

func (b *segmentedLog) dirtyBytes() int64   { return b.dirty }
func (b *segmentedLog) waitingBytes() int64 { return b.waiting }
