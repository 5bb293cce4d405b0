package log

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"thalweg/internal/batch"
	"thalweg/internal/invariant"
)

// The tail keeps recent appends in memory, for consumers that are up to date. It is a list of chunks of fixed size:
// batches are copied in once, written to the file from there, and handed to readers as slices. What a reader has seen
// is never written to again.
//
// It is kept only while somebody follows the log: from when a reader has come to the end until a chunk has to go that
// nobody has read. A log that nobody reads, such as most changelogs, or whose readers are far behind, costs no memory.
const (
	firstChunkBytes = 8 << 10 // an idle partition should cost little; every further chunk is twice as large
	maxChunkBytes   = 256 << 10
	markBytes       = 4 << 10
)

type tail struct {
	memory   *Memory
	maxBytes int
	followed atomic.Bool // appends go into memory

	current *chunk // what reserve handed out; the appender's own

	mu     sync.Mutex
	chunks []*chunk // oldest first, without gaps between their offsets
	bytes  int
}

type chunk struct {
	tail *tail
	buf  []byte // len is its capacity; [0, used) is published

	// guarded by tail.mu
	used  int
	base  int64 // first offset
	next  int64 // offset after the last batch
	marks []mark
	read  bool // handed to a reader

	// guarded by Memory.mu
	older, newer *chunk
	counted      bool
}

// mark says where a batch begins.
type mark struct {
	base     int64
	position int
}

// follow has what is appended from now on kept: a reader is up to date.
func (t *tail) follow() {
	if !t.followed.Load() {
		t.followed.Store(true)
	}
}

// reserve returns n bytes at the end of the tail, nil while nobody follows the log. Until publish they belong to the
// appender; without publish the next reserve hands them out again.
func (t *tail) reserve(n int) []byte {
	if !t.followed.Load() {
		if t.current != nil {
			t.current = nil
			t.clear() // what comes next is not kept, and there must be no gap
		}
		return nil
	}
	c := t.current
	if c == nil || len(c.buf)-c.used < n {
		size := firstChunkBytes
		if c != nil {
			size = min(2*len(c.buf), maxChunkBytes)
		}
		c = &chunk{tail: t, buf: make([]byte, max(size, n))}
		t.current = c
	}
	return c.buf[c.used : c.used+n : c.used+n]
}

// publish makes the reserved bytes, n of them, visible: batches from base up to the offset before next.
func (t *tail) publish(n int, base, next int64) {
	c := t.current
	t.mu.Lock()
	if c.used == 0 {
		c.base = base
	}
	if len(c.marks) == 0 || c.used-c.marks[len(c.marks)-1].position >= markBytes {
		c.marks = append(c.marks, mark{base, c.used})
	}
	c.used += n
	c.next = next
	if n := len(t.chunks); invariant.Enabled && n > 0 && t.chunks[n-1] != c {
		invariant.Check(t.chunks[n-1].next == base, "tail: a gap from offset %d to %d", t.chunks[n-1].next, base)
	}
	isNew := len(t.chunks) == 0 || t.chunks[len(t.chunks)-1] != c
	if isNew {
		t.chunks = append(t.chunks, c)
		t.bytes += len(c.buf)
	}
	var dropped []*chunk
	for t.bytes > t.maxBytes && len(t.chunks) > 1 {
		dropped = append(dropped, t.chunks[0])
		t.leave(t.chunks[0])
		t.chunks = t.chunks[1:]
	}
	t.mu.Unlock()
	if !isNew {
		return
	}
	for _, d := range dropped {
		t.memory.release(d)
	}
	t.memory.add(c)
}

// leave drops c, which ends following if nobody has read it. The lock is held.
func (t *tail) leave(c *chunk) {
	t.bytes -= len(c.buf)
	if !c.read {
		t.followed.Store(false)
	}
}

// drop forgets everything up to and including c. Memory calls it.
func (t *tail) drop(c *chunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, have := range t.chunks {
		if have == c {
			for _, gone := range t.chunks[:i+1] {
				t.leave(gone)
			}
			t.chunks = append([]*chunk(nil), t.chunks[i+1:]...)
			return
		}
	}
}

// forget drops what lies below offset, and what shares a chunk with it. The appender's lock is held.
func (t *tail) forget(offset int64) {
	t.mu.Lock()
	n := sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i].base >= offset })
	gone := t.chunks[:n:n]
	t.chunks = slices.Clone(t.chunks[n:])
	for _, c := range gone {
		t.bytes -= len(c.buf)
		if c == t.current {
			t.current = nil
		}
	}
	if t.current != nil && len(t.chunks) == 0 {
		t.current = nil // dropped before, for want of memory; publish must not bring it back
	}
	t.mu.Unlock()
	for _, c := range gone {
		t.memory.release(c)
	}
}

// clear forgets everything and gives the budget back.
func (t *tail) clear() {
	t.mu.Lock()
	chunks := t.chunks
	t.chunks, t.bytes = nil, 0
	t.mu.Unlock()
	for _, c := range chunks {
		t.memory.release(c)
	}
}

// piece is the published part of a chunk.
type piece struct {
	buf   []byte
	next  int64
	whole bool // nothing of it lies at or above the bound
}

// read returns whole batches from the one that contains offset, below bound, of at most maxBytes together but one batch
// at least. ok is false when the tail does not reach back to offset.
func (t *tail) read(offset, bound int64, maxBytes int) (runs [][]byte, total int, ok bool) {
	var room [8]piece
	pieces := t.pieces(room[:0], offset, bound, maxBytes)
	if len(pieces) == 0 {
		return nil, 0, false
	}
	for i, p := range pieces {
		buf := p.buf
		if i == 0 {
			buf = skipTo(buf, offset)
		}
		if !p.whole || total+len(buf) > maxBytes {
			buf = buf[:fit(buf, bound, maxBytes-total, total == 0)]
		}
		if len(buf) == 0 {
			break
		}
		runs = append(runs, buf[:len(buf):len(buf)])
		total += len(buf)
	}
	return runs, total, true
}

// pieces collects the chunks to read from, under the lock; their bytes are immutable and are looked at without it.
func (t *tail) pieces(dst []piece, offset, bound int64, maxBytes int) []piece {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.chunks) == 0 || offset < t.chunks[0].base || offset >= t.chunks[len(t.chunks)-1].next {
		return dst
	}
	first := sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i].next > offset })
	total := 0
	for _, c := range t.chunks[first:] {
		if c.base >= bound || total > maxBytes {
			break
		}
		start := 0
		if len(dst) == 0 {
			m := sort.Search(len(c.marks), func(i int) bool { return c.marks[i].base > offset })
			start = c.marks[m-1].position
		}
		c.read = true
		dst = append(dst, piece{buf: c.buf[start:c.used:c.used], next: c.next, whole: c.next <= bound})
		total += c.used - start
	}
	return dst
}

// skipTo drops the batches that end before offset. buf holds whole batches.
func skipTo(buf []byte, offset int64) []byte {
	for len(buf) > 0 {
		b, rest, err := batch.Parse(buf)
		if err != nil || b.LastOffset() >= offset {
			return buf
		}
		buf = rest
	}
	return buf
}

// fit returns the size of the whole batches at the start of buf that end below bound and take at most maxBytes; the
// first may be larger when atLeastOne is set.
func fit(buf []byte, bound int64, maxBytes int, atLeastOne bool) int {
	size := 0
	for size < len(buf) {
		b, _, err := batch.Parse(buf[size:])
		if err != nil || b.LastOffset() >= bound {
			return size
		}
		if size+b.Size() > maxBytes && !(atLeastOne && size == 0) {
			return size
		}
		size += b.Size()
	}
	return size
}
