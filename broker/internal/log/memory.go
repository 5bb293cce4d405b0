package log

import (
	"sync"

	"thalweg/internal/memory"
)

// Memory is the memory that the logs of a broker share. When that of their tails is used up, the oldest chunk of
// whichever log goes first; readers that hold slices of it keep them.
type Memory struct {
	checks     *memory.Gate  // to what is decompressed to be checked
	compaction *memory.Share // of keys

	share  *memory.Share // of tails
	mu     sync.Mutex
	bytes  int64
	oldest *chunk
	newest *chunk
}

// NewMemory returns memory of so many bytes for tails, and what else logs need.
func NewMemory(maxBytes int64) *Memory {
	checks := memory.NewShare(memory.Requests, checkBytes)
	return MemoryOf(memory.NewShare(memory.Tails, maxBytes), memory.NewGate(checks, checks.BytesMax),
		memory.NewShare(memory.Compaction, maxCompactionKeys*compactionKeyBytes))
}

// checkBytes is for batches that are checked, where nothing else is set.
const checkBytes = 64 << 20

// MemoryOf returns memory that is a broker's part of shares.
func MemoryOf(tails *memory.Share, checks *memory.Gate, compaction *memory.Share) *Memory {
	return &Memory{share: tails, checks: checks, compaction: compaction}
}

// Bytes returns how much the tails use.
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
	m.use(int64(cap(c.buf)))
	for m.bytes > m.share.PartBytesMax() && m.oldest != c {
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
	m.use(-int64(cap(c.buf)))
}

func (m *Memory) use(bytes int64) {
	m.bytes += bytes
	m.share.Use(bytes)
}
