package pebble

import (
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"thalweg/internal/memory"
)

// filterWatch warns when the filters and indexes of the tables do not fit into the memory for blocks. A look-up of an
// absent key, which is the most frequent one while state grows, then reads them from the disk.
type filterWatch struct {
	log    *slog.Logger
	memory *memory.Share

	mu     sync.Mutex
	next   time.Time // not before
	warned int64     // bytes that were warned of
}

const (
	filterLookEvery = time.Minute // at most
	// blockParts: memtables that wait to be written may take this part of the memory, and blocks have the rest.
	blockParts = 2
)

// due tells whether it is time to look.
func (w *filterWatch) due(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Before(w.next) {
		return false
	}
	w.next = now.Add(filterLookEvery)
	return true
}

// watchFilters looks in the background after the tables have changed.
func (e *Engine) watchFilters() {
	if e.space.opening.Load() || !e.filters.due(e.space.clock.Now()) {
		return
	}
	go func() {
		if e.enter() != nil {
			return
		}
		defer e.leave()
		err := e.unlessDead(func() error {
			rows, bytes, err := e.filterBytes()
			if err == nil {
				e.filters.compare(e.dir, rows, bytes)
			}
			return err
		})
		if err != nil {
			e.filters.log.Debug("state: can't read the sizes of filters", "directory", e.dir, "err", err)
		}
	}()
}

// filterBytes is how large all filters and indexes are, and of how many rows.
func (e *Engine) filterBytes() (rows, bytes int64, err error) {
	levels, err := e.db.SSTables(pebble.WithProperties())
	if err != nil {
		return 0, 0, err
	}
	for _, level := range levels {
		for _, t := range level {
			if p := t.Properties; p != nil {
				rows += int64(p.NumEntries)
				bytes += int64(p.FilterSize + p.IndexSize)
			}
		}
	}
	return rows, bytes, nil
}

// compare warns when the filters do not fit, and again when they have become half as large again.
func (w *filterWatch) compare(dir string, rows, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	most := w.memory.BytesMax()
	if bytes <= most/blockParts || bytes <= w.warned+w.warned/2 {
		return
	}
	w.warned = bytes
	w.log.Warn("state: the filters and indexes of the engine's files do not fit into its memory, so that look-ups of "+
		"absent keys read from the disk: set Config.Limits.BlockCacheBytesMax to the bytes needed, or raise "+
		"Config.Limits.MemoryBytesMax in proportion",
		"directory", dir, "rows", rows, "filter bytes", bytes, "engine bytes", most, "bytes needed", blockParts*bytes)
}
