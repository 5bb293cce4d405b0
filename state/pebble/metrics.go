package pebble

import "thalweg/state/engine"

// figures are what the engine used when it was last asked.
type figures struct {
	engine         engine.Metrics
	memtablesBytes int64
}

// Metrics tells what the engine uses. While the disk is full it is what the engine used before.
func (e *Engine) Metrics() engine.Metrics {
	if e.enter() != nil {
		return engine.Metrics{}
	}
	defer e.leave()
	m := e.figures().engine
	m.WriteStalls = e.stalls.Load()
	m.WaitingWrites, m.DiskFullTime = e.space.waiting.Load(), e.space.fullFor()
	return m
}

// memtables is the memory that memtables use.
func (e *Engine) memtables() int64 {
	if e.enter() != nil {
		return 0
	}
	defer e.leave()
	return e.figures().memtablesBytes
}

// figures asks Pebble, which waits for the manifest to be written: not as long as the disk is full.
func (e *Engine) figures() figures {
	if full := e.space.whenFull(); !isClosed(full) {
		measured := make(chan struct{})
		e.measuring.Go(func() {
			e.measure()
			close(measured)
		})
		select {
		case <-measured:
		case <-full:
		case <-e.dead:
		}
	}
	if last := e.measured.Load(); last != nil {
		return *last
	}
	return figures{}
}

func (e *Engine) measure() {
	m := e.db.Metrics()
	e.measured.Store(&figures{
		engine: engine.Metrics{
			MemoryBytes: m.BlockCache.Size + int64(m.MemTable.Size), DiskBytes: int64(m.DiskSpaceUsage()),
			CacheHits: m.BlockCache.Hits, CacheMisses: m.BlockCache.Misses, Flushes: m.Flush.Count,
			Compactions: m.Compact.Count, ReadAmplification: int64(m.ReadAmp()),
			FilterHits: m.Filter.Hits, FilterMisses: m.Filter.Misses,
		},
		memtablesBytes: int64(m.MemTable.Size + m.MemTable.ZombieSize),
	})
}
