package runtime

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"thalweg/internal/dirlock"
	"thalweg/state"
	"thalweg/state/engine"
	"thalweg/state/pebble"
	"thalweg/topology"
)

// home is what a process has for an application while it runs: its memory, and on disk
//
//	<StateDir>/<application>/lock     held while the application runs
//	                         pid      of the holder, for messages
//	                         process  the process' name in the group; it outlives restarts
//	                         used     when the state of each task was last kept up (see ages)
//	                         state/   the engine with the local copies of all stores
//
// An application without stores has no directory: many processes of it can run side by side with the same StateDir.
type home struct {
	engine   engine.Engine // nil when nothing is kept on disk
	budget   *state.Budget
	headroom []byte // never touched, see Config.HeadroomBytes
	process  string
	ages     *ages // nil when nothing is kept on disk; guarded by the application's mutex
	lock     io.Closer
	dir      string
	patience time.Duration // with the disk, at the end
}

// openHome opens the directory, or says who has it.
func openHome(topo *topology.Topology, cfg Config) (*home, error) {
	h := &home{budget: state.NewBudget(cfg.CacheBytesMax), patience: cfg.CloseTimeout}
	// The collector's goal is a multiple of what is alive, and this counts as alive while it has no page.
	h.headroom = make([]byte, max(cfg.HeadroomBytes, 0))
	if !keepsState(topo) {
		h.process = uuid.NewString()
		return h, nil
	}
	fs := cfg.StateFS
	dir := fs.PathJoin(cfg.StateDir, cfg.ApplicationID)
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("state directory %s: %w: set Config.StateDir to a place that can be written", dir, err)
	}
	if cfg.StateDir == temporaryState() {
		cfg.Logger.Warn("the state lies in a temporary directory, which the system may empty: restoring it takes time; "+
			"set Config.StateDir", "application", cfg.ApplicationID, "directory", dir)
	}
	lock, err := dirlock.Acquire(fs, dir, dirlock.Files{Lock: "lock", PID: "pid"})
	switch {
	case errors.Is(err, dirlock.ErrInUse):
		return nil, fmt.Errorf("state %w: each process needs a Config.StateDir of its own", err)
	case err != nil:
		return nil, fmt.Errorf("state %w: set Config.StateDir to a place that can be written", err)
	}
	h.lock, h.dir = lock, dir
	h.ages = openAges(fs, fs.PathJoin(dir, "used"))
	if h.process, err = processName(fs, fs.PathJoin(dir, "process")); err == nil {
		err = h.openEngine(cfg)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state directory %s: %w", dir, err), h.close())
	}
	return h, nil
}

// openEngine sets the engine only when it is open: an interface that holds a nil *pebble.Engine is not nil, and close
// would use it.
func (h *home) openEngine(cfg Config) error {
	e, err := pebble.Open(cfg.StateFS.PathJoin(h.dir, "state"), pebble.Options{
		FS: cfg.StateFS, CacheBytesMax: cfg.BlockCacheBytesMax, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	h.engine = e
	return nil
}

func keepsState(topo *topology.Topology) bool {
	for _, s := range slices.Concat(topo.Subtopologies(), topo.Globals()) {
		for _, st := range s.Stores {
			if !st.Spec().InMemory {
				return true
			}
		}
	}
	return false
}

// processName reads the process' name, or makes one. A transactional id is made of it, so that a process which comes
// back after a crash ends what it left open at once.
func processName(fs vfs.FS, path string) (string, error) {
	name, err := readFile(fs, path)
	if err == nil {
		if _, err := uuid.Parse(name); err == nil {
			return name, nil
		}
	}
	name = uuid.NewString()
	return name, writeFile(fs, path, name+"\n")
}

func readFile(fs vfs.FS, path string) (string, error) {
	f, err := fs.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	return strings.TrimSpace(string(b)), err
}

func writeFile(fs vfs.FS, path, content string) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(content))
	return errors.Join(err, f.Sync(), f.Close())
}

// close releases the directory. The engine flushes what it has, which a disk that is full can put off for ever: then
// the directory stays locked until the process ends, and the changelogs have what is missing.
func (h *home) close() error {
	var errs []error
	if h.engine != nil {
		flushed := make(chan error, 1)
		go func() { flushed <- h.engine.Close() }()
		timer := time.NewTimer(h.patience)
		defer timer.Stop()
		select {
		case err := <-flushed:
			if err != nil {
				errs = append(errs, fmt.Errorf("state directory %s: close: %w", h.dir, err))
			}
		case <-timer.C:
			return fmt.Errorf("state directory %s: close: the disk did not take what was in memory within %v: is it "+
				"full? Nothing is lost: the changelogs have it, and the next start restores from there", h.dir, h.patience)
		}
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Close())
	}
	return errors.Join(errs...)
}
