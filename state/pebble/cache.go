package pebble

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"thalweg/internal/memory"
)

// blockCache is the cache of all engines that have one share of the memory. Pebble takes its memtables, and large
// batches until they are on the disk, from the cache's size: the share bounds them, too.
type blockCache struct {
	share *memory.Share

	mu      sync.Mutex
	users   int
	cache   *pebble.Cache
	reserve func() // gives back what the cache must not use at present
	stop    []func()
}

// cacheOf returns the cache of a share.
func cacheOf(share *memory.Share) *blockCache {
	return share.Common(func() any { return &blockCache{share: share} }).(*blockCache)
}

// take returns the cache for another engine, which gives it up with leave.
func (c *blockCache) take() *pebble.Cache {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users++; c.users == 1 {
		c.cache = pebble.NewCache(c.share.Ceiling())
		c.stop = []func(){c.share.OnResize(c.resize), c.share.Report(c.cache.Size)}
		c.limit(c.share.BytesMax()) // after OnResize, so that no change is missed
	}
	return c.cache
}

func (c *blockCache) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users > 0 {
		return
	}
	for _, stop := range c.stop {
		stop()
	}
	c.cache.Unref()
	c.cache, c.reserve, c.stop = nil, nil, nil
}

func (c *blockCache) resize(bytesMax int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cache != nil {
		c.limit(bytesMax)
	}
}

// limit reserves what is between the cache's size, which never changes, and what it may use.
func (c *blockCache) limit(bytesMax int64) {
	if c.reserve != nil {
		c.reserve()
		c.reserve = nil
	}
	if spare := c.share.Ceiling() - bytesMax; spare > 0 {
		c.reserve = c.cache.Reserve(int(spare))
	}
}
