// Package pebble is the state engine on disk: one Pebble database for all tasks of a process.
//
// There is no write-ahead log, because the stores' changelogs are it: after a crash the database is what its last
// flushed memtable made it, a prefix of the batches. Memtables are small (8 MiB at most), and a batch larger than half
// of one becomes a memtable of its own without passing through a skip list.
//
//	<directory>/STATE_FORMAT    1 byte: layout.Version; an older one is replaced, a newer one refused
//	<directory>/RESERVE         1 MiB of noise, deleted while the disk is full (see spaceFS), or while rows are dropped
//	<directory>/ingest/         tables that are being written to be ingested
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
	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/memory"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Options say how to open an engine. The zero value works.
type Options struct {
	FS vfs.FS // nil: the machine's
	// Memory is what blocks and memtables may use; engines that have the same share have one block cache. Nil: 64 MiB.
	Memory        *memory.Share
	MemtableBytes int64 // 0: a sixteenth of Memory, 256 KiB to 8 MiB
	Logger        *slog.Logger
	// ReadOnly writes nothing: it opens on a disk without any space. The engine must not be written to.
	ReadOnly bool
	// NoReserve gives the reserve file up, and does not make it again: what it leaves is for dropping rows on a full
	// disk. A write that finds no space waits a few seconds for files that Pebble is deleting; then it is a failure, as
	// after StopWaiting. The next engine makes the file.
	NoReserve bool
}

const (
	defaultMemoryBytes = 64 << 20
	// Up to eight memtables wait to be written, which is half of the memory.
	memtablesMost      = 8
	memtableParts      = 2 * memtablesMost
	memtableBytesLeast = 256 << 10
	memtableBytesMost  = 8 << 20
	formatFile         = "STATE_FORMAT"
)

// whenRemoved is what helps where the directory is not as it should be.
const whenRemoved = ": the stores are restored from their changelogs when it is removed"

// Engine is a Pebble database as a state engine.
type Engine struct {
	dir    string
	space  *spaceFS     // of Pebble
	files  *spaceFS     // of the engine's callers
	mu     sync.RWMutex // held for reading during each call, for writing while closing
	db     *pebble.DB
	closed bool
	// readOnly tells that there is nothing to flush.
	readOnly bool

	failure    atomic.Pointer[engine.Failure] // the first
	dead       chan struct{}                  // closed when Pebble can't continue: it is not called again
	dying      sync.Once
	stalls     atomic.Int64
	compacting atomic.Int64 // bytes that running compactions read
	release    func()       // gives the memory back

	lookups lookups
	filters filterWatch

	measured  atomic.Pointer[figures] // the last
	measuring sync.WaitGroup
	tables    *pebble.Options // of tables that Ingest writes
	ingested  atomic.Int64    // numbers them
}

var _ engine.Engine = (*Engine)(nil)

// Open opens the engine in a directory, which it makes when it is not there. Only one process may have it open.
func Open(dir string, o Options) (*Engine, error) { return openWith(dir, o, func(*pebble.Options) {}) }

// openWith opens with settings that are changed: see BenchmarkSettings.
func openWith(dir string, o Options, change func(*pebble.Options)) (*Engine, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Memory == nil {
		o.Memory = memory.NewShare(memory.Engine, defaultMemoryBytes)
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = min(max(o.Memory.BytesMax()/memtableParts, memtableBytesLeast), memtableBytesMost)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{dir: dir, dead: make(chan struct{})}
	e.space = newSpaceFS(o.FS, e, o.Logger)
	e.filters = filterWatch{log: o.Logger, memory: o.Memory}
	e.files = e.space.forCallers()
	err := e.prepare(o)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w%s", dir, err, spaceRemedy(err))
	}
	o.FS = e.space
	cache := cacheOf(o.Memory)
	options := e.options(o, cache.take())
	change(options)
	if e.db, err = e.open(options); err == nil && !o.ReadOnly {
		err = e.openIngest()
	}
	if err != nil {
		if e.isDead() { // Pebble may still use the cache, and has left its lock
			err = errors.Join(err, e.space.unlock())
		} else {
			cache.leave()
		}
		e.space.stop()
		if f, ok := errors.AsType[*engine.Failure](err); ok {
			err = f.Err // its remedy is that of an engine that was open
		}
		return nil, fmt.Errorf("state directory %s: open: %w%s", dir, first(err), openRemedy(dir, err))
	}
	stop := o.Memory.Report(e.memtables)
	e.release = func() {
		stop()
		cache.leave()
	}
	if !o.ReadOnly && !o.NoReserve {
		if err := e.space.keepReserve(); err != nil { // what was just written may have taken it
			return nil, errors.Join(fmt.Errorf("state directory %s: %w%s", dir, err, spaceRemedy(err)), e.Close())
		}
	}
	e.space.opening.Store(false)
	e.watchFilters()
	return e, nil
}

// prepare does what comes before Pebble.
func (e *Engine) prepare(o Options) error {
	e.readOnly = o.ReadOnly
	if err := checkFormat(o.FS, e.dir, o.ReadOnly); err != nil || o.ReadOnly {
		return err
	}
	if !o.NoReserve {
		return e.space.keepReserve()
	}
	e.space.hurry.Store(true)
	e.space.tries = deletionTries
	if err := o.FS.Remove(e.space.reserve); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// spaceRemedy is what helps where there is no space; "": there is.
func spaceRemedy(err error) string {
	if !IsFull(err) {
		return ""
	}
	return ": free space on the directory's disk, or choose a directory on another"
}

// open may wait for a goroutine of Pebble's that has failed.
func (e *Engine) open(options *pebble.Options) (db *pebble.DB, err error) {
	options.EnsureDefaults()
	e.tables = options
	opened := make(chan *pebble.DB, 1)
	err = e.unlessDead(func() error {
		db, err := pebble.Open(e.dir, options)
		opened <- db
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-opened, nil
}

func (e *Engine) options(o Options, cache *pebble.Cache) *pebble.Options {
	logger := &log{Logger: o.Logger, engine: e}
	options := &pebble.Options{
		FS: o.FS, Cache: cache, DisableWAL: true, ReadOnly: o.ReadOnly, FormatMajorVersion: pebble.FormatNewest,
		MemTableSize: uint64(o.MemtableBytes), MemTableStopWritesThreshold: memtablesMost,
		L0CompactionThreshold: 4, L0StopWritesThreshold: 24, LBaseMaxBytes: 64 << 20, MaxOpenFiles: 1000,
		Logger: logger,
		EventListener: &pebble.EventListener{
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				logger.Errorf("the state in %s is damaged: %v", e.dir, damaged(info))
				_ = e.fail(damaged(info)) // Pebble's own listener would end the process
			},
			BackgroundError: e.backgroundError,
			FlushEnd:        func(pebble.FlushInfo) { e.changedBehind() },
			CompactionBegin: func(info pebble.CompactionInfo) { e.compacting.Add(compactionBytes(info)) },
			CompactionEnd: func(info pebble.CompactionInfo) {
				e.compacting.Add(-compactionBytes(info))
				e.changedBehind()
				e.watchFilters()
			},
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { e.stalls.Add(1) },
		},
	}
	setTables(options)
	return options
}

// checkFormat reads or writes the version of the formats in the directory.
func checkFormat(fs vfs.FS, dir string, readOnly bool) error {
	if readOnly {
		if _, err := fs.Stat(dir); err != nil {
			return err
		}
	} else if err := fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make: %w%s", err, whenRemoved)
	}
	name := fs.PathJoin(dir, formatFile)
	f, err := fs.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		if readOnly {
			return nil
		}
		return writeFormat(fs, dir, name)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w%s", formatFile, err, whenRemoved)
	}
	version, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read %s: %w%s", formatFile, err, whenRemoved)
	}
	if len(version) == 0 || version[0] >= layout.OldestVersion && version[0] < layout.Version {
		if readOnly {
			return nil
		}
		return writeFormat(fs, dir, name) // power was lost while it was made, or an older build made it
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
	return e.getNewest(dst, key)
}

// GetSorted looks up keys in the newest state.
func (e *Engine) GetSorted(keys [][]byte, found func(number int, value []byte) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.getSorted(e.db, keys, found)
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
	it, err := s.engine.openLookup(s.s)
	if err != nil {
		return dst, false, err
	}
	dst, found, err := it.get(dst, key)
	if closed := it.Close(); err == nil {
		err = closed
	}
	return dst, found, err
}

func (s *snapshot) GetSorted(keys [][]byte, found func(number int, value []byte) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.engine.leave()
	return s.engine.getSorted(s.s, keys, found)
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

// Close flushes and closes. On a full disk it waits for space (see StopWaiting). An engine that Pebble has given up
// keeps its files open until the process ends.
func (e *Engine) Close() error {
	return e.unlessDead(func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.closed {
			return engine.ErrClosed
		}
		e.closed = true
		if e.isDead() {
			return e.Failed()
		}
		e.measuring.Wait()
		err := errors.Join(e.changed(), e.closeDB())
		e.space.stop()
		e.release()
		return err
	})
}
