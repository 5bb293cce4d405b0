package workload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	goruntime "runtime"
	"slices"

	"thalweg/internal/batch"
	"thalweg/runtime"
)

// Data are the record batches that a workload reads, by topic.
type Data struct{ Tables, Inputs [][][]byte }

// Handwritten is the least that a workload costs: one loop over record batches in memory that decodes, processes
// and encodes with nothing in between. It returns the time that the inputs took; tables are there before.
// commitEvery is after how many counted things what changed is encoded, as a commit does: set it to what one commit of
// the measured run held. What comes out is added to check, but for counts, unless it is nil.
func Handwritten(workload string, d Data, commitEvery int, check *results) (took spent, err error) {
	h := &handwritten{
		out: batch.NewBuilder(batch.None), log: batch.NewBuilder(batch.None), every: commitEvery, check: check,
		commit: func() {},
	}
	each, err := h.workload(workload, d.Tables)
	if err != nil {
		return took, err
	}
	ballast := make([]byte, runtime.DefaultHeapBallastBytes) // as the application has
	defer goruntime.KeepAlive(ballast)
	since := startClock()
	err = inTime(d.Inputs, func(input int, r *batch.Record) {
		each(input, r)
		if h.counted++; h.counted%h.every == 0 {
			h.end()
		}
	})
	h.end()
	return since.spent(), errors.Join(err, h.err)
}

// workload is what is done with each record.
func (h *handwritten) workload(name string, tables [][][]byte) (each func(int, *batch.Record), err error) {
	switch name {
	case "stateless":
		return h.upper, nil
	case "wordcount":
		h.counts, h.commit = newCounts(1<<18), h.commitCounts
		return h.splitAndCount, nil
	case "window", "window-repartition":
		w := &windows{h: h}
		h.commit = w.commit
		return w.add, nil
	case "session":
		s := &sessions{h: h, keys: newCounts(1 << 18)}
		h.commit = s.commit
		return s.add, nil
	case "table-join":
		rows, err := newRows(tables[0])
		return (&tableAndStream{h: h, rows: rows}).add, err
	case "stream-join":
		return newTwoStreams(h).add, nil
	case "large", "huge", "huge-z":
		l := &latest{h: h, keys: newCounts(1 << 18)}
		h.commit = func() {
			l.changed(func(key []byte, row timed) {
				h.append(h.log, row.ts, key, row.value)
				h.result(row.ts, key, row.value)
			})
		}
		return l.add, nil
	case "fk-join":
		rows, err := newRows(tables[0])
		f := &foreign{latest: latest{h: h, keys: newCounts(1 << 18)}, rows: rows}
		h.commit = f.commit
		return f.add, err
	default:
		h.counts, h.commit = newCounts(1<<18), h.commitCounts
		return func(_ int, r *batch.Record) { h.counts.add(r.Key, r.Timestamp) }, nil
	}
}

// end is the end of a transaction.
func (h *handwritten) end() {
	h.commit()
	h.finish(h.log, 0)
	h.finish(h.out, 0)
}

// inTime walks through the records of several topics, the oldest first.
func inTime(inputs [][][]byte, each func(input int, r *batch.Record)) error {
	cursors := make([]cursor, len(inputs))
	for i := range cursors {
		cursors[i].rest = inputs[i]
		cursors[i].next()
	}
	for {
		first := -1
		for i := range cursors {
			c := &cursors[i]
			if c.err != nil {
				return c.err
			}
			if c.there && (first < 0 || c.r.Timestamp < cursors[first].r.Timestamp) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		c := &cursors[first]
		each(first, &c.r)
		c.next()
	}
}

// cursor is a place in a topic.
type cursor struct {
	decoder batch.Decoder
	rest    [][]byte
	it      batch.Iterator
	begun   bool
	r       batch.Record
	there   bool
	err     error
}

func (c *cursor) next() {
	for {
		if c.begun {
			if c.there = c.it.Next(&c.r); c.there {
				return
			}
			c.err = c.it.Err()
		}
		if c.err != nil || len(c.rest) == 0 {
			return
		}
		b, _, err := batch.Parse(c.rest[0])
		if err == nil {
			c.it, err = b.Records(&c.decoder)
		}
		c.rest, c.begun, c.err = c.rest[1:], err == nil, err
	}
}

type handwritten struct {
	out, log *batch.Builder
	counts   *counts
	scratch  []byte
	counted  int
	every    int
	commit   func() // encodes what changed
	check    *results
	err      error
}

func (h *handwritten) upper(_ int, r *batch.Record) {
	if r.Value[0] == '0' {
		return
	}
	h.scratch = slices.Grow(h.scratch[:0], len(r.Value))[:len(r.Value)]
	upper(h.scratch, r.Value)
	h.result(r.Timestamp, r.Key, h.scratch)
}

func (h *handwritten) splitAndCount(_ int, r *batch.Record) {
	line := r.Value
	for len(line) > 0 {
		i := bytes.IndexByte(line, ' ')
		if i < 0 {
			h.counts.add(line, r.Timestamp)
			return
		}
		if i > 0 {
			h.counts.add(line[:i], r.Timestamp)
		}
		line = line[i+1:]
	}
}

// commitCounts encodes what changed, once into a changelog and once into an output.
func (h *handwritten) commitCounts() {
	for _, at := range h.counts.dirty {
		e := &h.counts.entries[at]
		h.scratch = binary.BigEndian.AppendUint64(h.scratch[:0], uint64(e.n))
		h.append(h.log, e.ts, h.counts.key(e), h.scratch)
		h.append(h.out, e.ts, h.counts.key(e), h.scratch)
		e.dirty = false
	}
	h.counts.dirty = h.counts.dirty[:0]
}

func (h *handwritten) append(b *batch.Builder, ts int64, key, value []byte) {
	b.Append(ts, key, value, nil)
	h.finish(b, batchBytes)
}

// result is what a workload without counts makes.
func (h *handwritten) result(ts int64, key, value []byte) {
	h.append(h.out, ts, key, value)
	if h.check != nil {
		h.check.add(ts, key, value)
	}
}

const batchBytes = 1 << 20

func (h *handwritten) finish(b *batch.Builder, atLeast int) {
	if b.Len() == 0 || b.Size() < atLeast {
		return
	}
	if _, err := b.Finish(batch.NoProducer()); err != nil {
		h.err = err
	}
	b.Reset()
}

// counts is a hash table without pointers: linear probing over slots of tag and index.
type counts struct {
	seed    maphash.Seed
	slots   []uint64 // hash's high half | index+1
	entries []count
	keys    []byte
	dirty   []int32
}

type count struct {
	n, ts  int64
	at     uint32 // of the key in keys
	length uint32
	dirty  bool
}

func newCounts(slots int) *counts {
	return &counts{seed: maphash.MakeSeed(), slots: make([]uint64, slots)}
}

func (c *counts) key(e *count) []byte { return c.keys[e.at : e.at+e.length] }

func (c *counts) add(key []byte, ts int64) { c.hit(c.index(key), ts) }

// index finds a key's entry, or makes it.
func (c *counts) index(key []byte) int32 {
	hash := maphash.Bytes(c.seed, key)
	tag := hash &^ (1<<32 - 1)
	mask := uint64(len(c.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := c.slots[i]
		if slot == 0 {
			c.slots[i] = tag | uint64(len(c.entries)+1)
			c.entries = append(c.entries, count{at: uint32(len(c.keys)), length: uint32(len(key))})
			c.keys = append(c.keys, key...)
			if len(c.entries)*2 > len(c.slots) {
				c.grow()
			}
			return int32(len(c.entries) - 1)
		}
		if slot&^(1<<32-1) == tag {
			at := int32(slot&(1<<32-1)) - 1
			if bytes.Equal(c.key(&c.entries[at]), key) {
				return at
			}
		}
	}
}

func (c *counts) hit(at int32, ts int64) {
	e := &c.entries[at]
	e.n++
	e.ts = max(e.ts, ts)
	if !e.dirty {
		e.dirty = true
		c.dirty = append(c.dirty, at)
	}
}

func (c *counts) grow() {
	c.slots = make([]uint64, 2*len(c.slots))
	mask := uint64(len(c.slots) - 1)
	for at := range c.entries {
		hash := maphash.Bytes(c.seed, c.key(&c.entries[at]))
		i := hash & mask
		for c.slots[i] != 0 {
			i = (i + 1) & mask
		}
		c.slots[i] = hash&^(1<<32-1) | uint64(at+1)
	}
}
