package workload

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"

	"thalweg/internal/batch"
)

// Handwritten is the least that a workload costs: one loop over record batches in memory that decodes, processes
// and encodes with nothing in between. commitEvery is after how many counted things the dirty counts are encoded,
// as a commit does: set it to what one commit of the measured run held.
func Handwritten(workload string, batches [][]byte, commitEvery int) (encodedBytes int, err error) {
	h := &handwritten{out: batch.NewBuilder(batch.None), log: batch.NewBuilder(batch.None), every: commitEvery}
	var each func(r *batch.Record)
	switch workload {
	case "stateless":
		each = h.upper
	case "wordcount":
		h.counts = newCounts()
		each = h.splitAndCount
	default:
		h.counts = newCounts()
		each = func(r *batch.Record) { h.count(r.Key, r.Timestamp) }
	}
	var r batch.Record
	for _, raw := range batches {
		for b, err := range batch.BatchesOf(raw) {
			if err != nil {
				return 0, err
			}
			it, err := b.Records(&h.decoder)
			if err != nil {
				return 0, err
			}
			for it.Next(&r) {
				each(&r)
			}
			if it.Err() != nil {
				return 0, it.Err()
			}
		}
	}
	h.commit()
	return h.encoded, h.err
}

type handwritten struct {
	decoder  batch.Decoder
	out, log *batch.Builder
	counts   *counts
	scratch  []byte
	counted  int
	every    int
	encoded  int
	err      error
}

func (h *handwritten) upper(r *batch.Record) {
	if r.Value[0] == '0' {
		return
	}
	h.scratch = appendUpper(h.scratch[:0], r.Value)
	h.out.Append(r.Timestamp, r.Key, h.scratch, nil)
	h.finish(h.out, batchBytes)
}

func (h *handwritten) splitAndCount(r *batch.Record) {
	line := r.Value
	for len(line) > 0 {
		i := bytes.IndexByte(line, ' ')
		if i < 0 {
			h.count(line, r.Timestamp)
			return
		}
		if i > 0 {
			h.count(line[:i], r.Timestamp)
		}
		line = line[i+1:]
	}
}

func (h *handwritten) count(key []byte, ts int64) {
	h.counts.add(key, ts)
	if h.counted++; h.counted%h.every == 0 {
		h.commit()
	}
}

// commit encodes what changed, once into a changelog and once into an output.
func (h *handwritten) commit() {
	if h.counts == nil {
		h.finish(h.out, 0)
		return
	}
	for _, at := range h.counts.dirty {
		e := &h.counts.entries[at]
		h.scratch = binary.BigEndian.AppendUint64(h.scratch[:0], uint64(e.n))
		h.log.Append(e.ts, h.counts.key(e), h.scratch, nil)
		h.out.Append(e.ts, h.counts.key(e), h.scratch, nil)
		e.dirty = false
		h.finish(h.log, batchBytes)
		h.finish(h.out, batchBytes)
	}
	h.counts.dirty = h.counts.dirty[:0]
	h.finish(h.log, 0)
	h.finish(h.out, 0)
}

const batchBytes = 1 << 20

func (h *handwritten) finish(b *batch.Builder, atLeast int) {
	if b.Len() == 0 || b.Size() < atLeast {
		return
	}
	raw, err := b.Finish(batch.NoProducer())
	if err != nil {
		h.err = err
	}
	h.encoded += len(raw)
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

func newCounts() *counts { return &counts{seed: maphash.MakeSeed(), slots: make([]uint64, 1<<18)} }

func (c *counts) key(e *count) []byte { return c.keys[e.at : e.at+e.length] }

func (c *counts) add(key []byte, ts int64) {
	hash := maphash.Bytes(c.seed, key)
	tag := hash &^ (1<<32 - 1)
	mask := uint64(len(c.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := c.slots[i]
		if slot == 0 {
			c.slots[i] = tag | uint64(len(c.entries)+1)
			c.entries = append(c.entries, count{at: uint32(len(c.keys)), length: uint32(len(key))})
			c.keys = append(c.keys, key...)
			c.hit(int32(len(c.entries)-1), ts)
			if len(c.entries)*2 > len(c.slots) {
				c.grow()
			}
			return
		}
		if slot&^(1<<32-1) == tag {
			at := int32(slot&(1<<32-1)) - 1
			if bytes.Equal(c.key(&c.entries[at]), key) {
				c.hit(at, ts)
				return
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
