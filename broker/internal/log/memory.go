package log

import (
	"slices"
	"sync"
)

// Memory is the budget that the tails of a broker's logs share. When it is used up, the oldest chunk of whichever log
// goes first; readers that hold slices of it keep them.
type Memory struct {
	mu       sync.Mutex
	maxBytes int64
	bytes    int64
	oldest   *chunk
	newest   *chunk
	spares   [][]byte // of large chunks that nobody has read
}

// spareRounding lets buffers for batches of about the same size serve each other.
const spareRounding = 32 << 10

// sparesMax is how many buffers are kept for reuse. A log that nobody follows, such as most changelogs, then goes round
// in memory that the caches know, and makes no garbage.
const sparesMax = 16

// NewMemory returns a budget.
func NewMemory(maxBytes int64) *Memory { return &Memory{maxBytes: maxBytes} }

// Bytes returns how much of the budget is used.
func (m *Memory) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// add counts a chunk and makes room for it. The chunk itself stays, however large it is.
func (m *Memory) add(c *chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.counted {
		return
	}
	c.counted = true
	c.older, c.newer = m.newest, nil
	if m.newest != nil {
		m.newest.newer = c
	} else {
		m.oldest = c
	}
	m.newest = c
	m.bytes += int64(cap(c.buf))
	for m.bytes > m.maxBytes && m.oldest != c {
		victim := m.oldest
		m.unlink(victim)
		victim.tail.drop(victim)
	}
}

// release takes a chunk out of the count that its tail dropped.
func (m *Memory) release(c *chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.counted {
		m.unlink(c)
	}
}

// reuse makes the buffer of a chunk a spare one, if no reader has seen it. Its tail has dropped it and appends
// elsewhere.
func (m *Memory) reuse(c *chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !c.read && len(c.buf) >= maxChunkBytes && len(c.buf) <= 2*maxChunkBytes && len(m.spares) < sparesMax {
		m.spares = append(m.spares, c.buf)
	}
}

// buffer returns at least n bytes. What they hold is of no meaning.
func (m *Memory) buffer(n int) []byte {
	if n < maxChunkBytes {
		return make([]byte, n)
	}
	m.mu.Lock()
	i := slices.IndexFunc(m.spares, func(b []byte) bool { return len(b) >= n })
	if i >= 0 {
		b := m.spares[i]
		m.spares = slices.Delete(m.spares, i, i+1)
		m.mu.Unlock()
		return b
	}
	m.mu.Unlock()
	return make([]byte, (n+spareRounding-1)/spareRounding*spareRounding)
}

func (m *Memory) unlink(c *chunk) {
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		m.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		m.newest = c.older
	}
	c.older, c.newer, c.counted = nil, nil, false
	m.bytes -= int64(cap(c.buf))
}
