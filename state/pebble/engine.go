// Package pebble is the state engine on disk: one Pebble database for all tasks of a process.
//
// There is no write-ahead log, because the stores' changelogs are it: after a crash the database is what its last
// flushed memtable made it, a prefix of the batches. Memtables are small (8 MB), and a batch larger than half of one
// becomes a memtable of its own without passing through a skip list.
//
//	<directory>/STATE_FORMAT    1 byte: layout.Version; another version is refused
//	<directory>/…               Pebble's own files
package pebble

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Options say how to open an engine. The zero value works.
type Options struct {
	FS            vfs.FS // nil: the machine's
	CacheBytesMax int64  // block cache; 0: 64 MB
	MemtableBytes int64  // 0: 8 MB
	Logger        *slog.Logger
}

const (
	defaultCacheBytes    = 64 << 20
	defaultMemtableBytes = 8 << 20
	blockBytes           = 8 << 10
	bloomBitsPerKey      = 10
	formatFile           = "STATE_FORMAT"
)

// whenRemoved is what helps where the directory is not as it should be.
const whenRemoved = ": the stores are restored from their changelogs when it is removed"

// Engine is a Pebble database as a state engine.
type Engine struct {
	dir    string
	mu     sync.RWMutex // held for reading during each call, for writing while closing
	db     *pebble.DB
	closed bool

	failure atomic.Pointer[engine.Failure] // the first
	dead    chan struct{}                  // closed when Pebble can't go on: it is not called again
	dying   sync.Once
	trouble atomic.Pointer[error] // of the newest background write, nil when it went well
	stalls  atomic.Int64
}

var _ engine.Engine = (*Engine)(nil)

// Open opens the engine in a directory, which it makes when it is not there. Only one process may have it open.
func Open(dir string, o Options) (opened *Engine, err error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytesMax == 0 {
		o.CacheBytesMax = defaultCacheBytes
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = defaultMemtableBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkFormat(o.FS, dir); err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	e := &Engine{dir: dir, dead: make(chan struct{})}
	cache := pebble.NewCache(o.CacheBytesMax)
	defer cache.Unref()
	db, err := e.open(o, cache)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: open: %w (in use by another process? damaged? state can be restored"+
			" from its changelogs when the directory is removed)", dir, err)
	}
	e.db = db
	return e, nil
}

func (e *Engine) open(o Options, cache *pebble.Cache) (db *pebble.DB, err error) {
	defer e.caught(&err)
	return pebble.Open(e.dir, e.options(o, cache))
}

func (e *Engine) options(o Options, cache *pebble.Cache) *pebble.Options {
	options := &pebble.Options{
		FS: o.FS, Cache: cache, DisableWAL: true, FormatMajorVersion: pebble.FormatNewest,
		MemTableSize: uint64(o.MemtableBytes), MemTableStopWritesThreshold: 8,
		L0CompactionThreshold: 4, L0StopWritesThreshold: 24, LBaseMaxBytes: 64 << 20, MaxOpenFiles: 1000,
		Logger: log{o.Logger, e},
		EventListener: &pebble.EventListener{
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.Logger.Error("state engine: the state is damaged", "directory", e.dir, "error", info.Details.Error())
				e.fail(info.Details) // Pebble's own listener would end the process
			},
			BackgroundError: func(err error) {
				o.Logger.Error("state engine: background write failed", "directory", e.dir, "error", err.Error())
				e.trouble.Store(&err)
			},
			FlushEnd: func(info pebble.FlushInfo) {
				if info.Err == nil {
					e.trouble.Store(nil)
				}
			},
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { e.stalls.Add(1) },
		},
	}
	options.Levels[0] = pebble.LevelOptions{BlockSize: blockBytes, FilterPolicy: bloom.FilterPolicy(bloomBitsPerKey)}
	return options
}

// checkFormat reads or writes the version of the formats in the directory.
func checkFormat(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make: %w%s", err, whenRemoved)
	}
	name := fs.PathJoin(dir, formatFile)
	f, err := fs.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return writeFormat(fs, dir, name)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w%s", formatFile, err, whenRemoved)
	}
	version, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read %s: %w%s", formatFile, err, whenRemoved)
	}
	if len(version) == 0 {
		return writeFormat(fs, dir, name) // power was lost while it was made
	}
	if version[0] != layout.Version {
		return fmt.Errorf("its format has version %d, this program knows version %d: remove the directory to restore"+
			" the state from its changelogs", version[0], layout.Version)
	}
	return nil
}

func writeFormat(fs vfs.FS, dir, name string) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", formatFile, err)
	}
	_, err = f.Write([]byte{layout.Version})
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = syncDir(fs, dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", formatFile, err)
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// enter begins a call; leave ends it.
func (e *Engine) enter() error {
	if err := e.Failed(); err != nil {
		return err
	}
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		return engine.ErrClosed
	}
	return nil
}

func (e *Engine) leave() { e.mu.RUnlock() }

// Get appends the value of key to dst.
func (e *Engine) Get(dst, key []byte) ([]byte, bool, error) {
	if err := e.enter(); err != nil {
		return dst, false, err
	}
	defer e.leave()
	return e.get(e.db, dst, key)
}

func (e *Engine) get(r pebble.Reader, dst, key []byte) (found []byte, ok bool, err error) {
	defer e.caught(&err)
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, err
	}
	return append(dst, value...), true, closer.Close()
}

// Iterate iterates over the newest state.
func (e *Engine) Iterate(lower, upper []byte) (engine.Iterator, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	return e.iterate(e.db, lower, upper)
}

// Snapshot fixes the newest state.
func (e *Engine) Snapshot() (engine.Snapshot, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	return &snapshot{engine: e, s: e.db.NewSnapshot()}, nil
}

type snapshot struct {
	engine *Engine
	s      *pebble.Snapshot
	closed bool
}

func (s *snapshot) enter() error {
	if err := s.engine.enter(); err != nil {
		return err
	}
	if s.closed {
		s.engine.leave()
		return engine.ErrClosed
	}
	return nil
}

func (s *snapshot) Get(dst, key []byte) ([]byte, bool, error) {
	if err := s.enter(); err != nil {
		return dst, false, err
	}
	defer s.engine.leave()
	return s.engine.get(s.s, dst, key)
}

func (s *snapshot) Iterate(lower, upper []byte) (engine.Iterator, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.engine.leave()
	return s.engine.iterate(s.s, lower, upper)
}

// Close lets the snapshot go, after a failure too: an engine that still works is closed without it.
func (s *snapshot) Close() (err error) {
	e := s.engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	switch {
	case e.closed || s.closed:
		return engine.ErrClosed
	case e.isDead():
		return e.Failed()
	}
	defer e.caught(&err)
	s.closed = true
	return s.s.Close()
}

// Flush makes what was committed durable.
func (e *Engine) Flush() error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.unlessDead(e.db.Flush)
}

// Metrics tells what the engine uses.
func (e *Engine) Metrics() engine.Metrics {
	if e.enter() != nil {
		return engine.Metrics{}
	}
	defer e.leave()
	m := e.db.Metrics()
	return engine.Metrics{
		MemoryBytes: m.BlockCache.Size + int64(m.MemTable.Size), DiskBytes: int64(m.DiskSpaceUsage()),
		CacheHits: m.BlockCache.Hits, CacheMisses: m.BlockCache.Misses, Flushes: m.Flush.Count,
		Compactions: m.Compact.Count, ReadAmplification: int64(m.ReadAmp()), WriteStalls: e.stalls.Load(),
	}
}

// Close flushes and closes. An engine that Pebble has given up keeps its files open until the process ends.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return engine.ErrClosed
	}
	e.closed = true
	if e.isDead() {
		return e.Failed()
	}
	return e.unlessDead(func() error { return errors.Join(e.db.Flush(), e.db.Close()) })
}
