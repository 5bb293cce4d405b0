package log

import "sync"

// Memory is the budget that the tails of a broker's logs share. When it is used up, the oldest chunk of whichever log
// goes first; readers that hold slices of it keep them.
type Memory struct {
	mu       sync.Mutex
	maxBytes int64
	bytes    int64
	oldest   *chunk
	newest   *chunk
}

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
