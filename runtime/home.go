package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"thalweg/internal/dirlock"
	"thalweg/internal/origin"
	"thalweg/state/engine"
	"thalweg/state/pebble"
	"thalweg/topology"
)

// home is what a process has for an application while it runs: its memory, and on disk
//
//	<Config.State.Dir>/<application>/lock     held while the application runs
//	                         pid      of the holder, for messages
//	                         process  the process' name in the group, which outlives restarts, and where it was made
//	                         stores   which stores the program has (see noteStores)
//	                         state/   the engine with the local copies of all stores
//
// An application without stores keeps its name there, if the program says where: of many processes side by side with
// the same Config.State.Dir the first one does.
type home struct {
	engine   *pebble.Engine // nil when nothing is kept on disk
	memory   *portions
	ballast  []byte // never touched, see Config.Limits.HeapBallastBytes
	process  string
	lock     io.Closer
	dir      string
	patience time.Duration // with the disk, at the end
	flushing atomic.Bool
}

var homeLock = dirlock.Files{Lock: "lock", PID: "pid"}

// openHome opens the directory, or says who has it.
func openHome(topo *topology.Topology, cfg Config, memory *portions) (*home, error) {
	h := &home{memory: memory, patience: cfg.CloseTimeout}
	// The collector's goal is a multiple of what is alive, and this counts as alive while it has no page.
	h.ballast = make([]byte, max(cfg.Limits.HeapBallastBytes, 0))
	if !keepsState(topo) {
		h.process = uuid.NewString()
		if cfg.Instance != "" {
			h.process = cfg.Instance
		} else if cfg.State.Dir != defaultStateDir(nil) {
			h.keepName(cfg)
		}
		return h, nil
	}
	fs := cfg.State.FS
	dir := fs.PathJoin(cfg.State.Dir, cfg.ApplicationID)
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return nil, ofKind(ErrStateUnusable,
			fmt.Errorf("state directory %s: %w: set Config.State.Dir to a place that can be written", dir, err))
	}
	logStateDir(cfg, dir)
	lock, err := dirlock.Acquire(fs, dir, homeLock)
	switch {
	case errors.Is(err, dirlock.ErrInUse):
		return nil, ofKind(ErrStateInUse,
			fmt.Errorf("state %w: each process needs a Config.State.Dir of its own; after a failure of the state "+
				"engine the directory is in use until its process ends", err))
	case err != nil:
		return nil, ofKind(ErrStateUnusable,
			fmt.Errorf("state %w: set Config.State.Dir to a place that can be written", err))
	}
	h.lock, h.dir = lock, dir
	if h.process, err = processName(cfg, dir); err == nil {
		if err := h.openEngine(cfg); err != nil {
			return nil, errors.Join(ofKind(ErrStateUnusable, h.whenFull(err)), h.close())
		}
		err = h.takeOverUsed(fs)
	}
	if err == nil {
		err = noteStores(fs, fs.PathJoin(dir, "stores"), topo)
	}
	if err != nil {
		err = h.whenFull(fmt.Errorf("state directory %s: %w", dir, err))
		return nil, errors.Join(ofKind(ErrStateUnusable, err), h.close())
	}
	return h, nil
}

// whenFull adds to the error of a start on a full disk how the directory itself can be made smaller.
func (h *home) whenFull(err error) error {
	if !pebble.IsFull(err) {
		return err
	}
	return fmt.Errorf("%w. Or make space in the directory: %s", err, origin.Drops(h.dir))
}

func (h *home) openEngine(cfg Config) (err error) {
	h.engine, err = pebble.Open(cfg.State.FS.PathJoin(h.dir, "state"), pebble.Options{
		FS: cfg.State.FS, Memory: h.memory.engine, Logger: cfg.Logger,
	})
	return err
}

// stores is the engine for stores. It is nil when nothing is kept on disk: an interface that holds a nil *pebble.Engine
// is not nil.
func (h *home) stores() engine.Engine {
	if h.engine == nil {
		return nil
	}
	return h.engine
}

// stopWaiting is called when the application's time to close is over: what waits for a full disk ends with an error.
func (h *home) stopWaiting() {
	if h.engine != nil {
		h.engine.StopWaiting()
	}
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

// keepName gives the process the name of its predecessor, where no other process has it. It is a short cut after a
// crash (see removePredecessor), so that trouble with it is no error.
func (h *home) keepName(cfg Config) {
	fs := cfg.State.FS
	dir := fs.PathJoin(cfg.State.Dir, cfg.ApplicationID)
	err := fs.MkdirAll(dir, 0o750)
	if err == nil {
		h.lock, err = dirlock.Acquire(fs, dir, homeLock)
	}
	if err == nil {
		var name string
		if name, err = processName(cfg, dir); err == nil {
			h.process = name
		}
	}
	if err != nil {
		cfg.Logger.Debug("the process gets a new name in the group", "application", cfg.ApplicationID, "err", err)
	}
}

// processName reads the process' name, or makes one. A transactional id is made of it, so that a process which comes
// back after a crash ends what it left open at once. A directory that was copied has the name of a process which may be
// running: the copy gets another one. So does a directory that was moved, which can't be told from a copy.
// A program that names its processes does so itself.
func processName(cfg Config, dir string) (string, error) {
	if cfg.Instance != "" {
		return cfg.Instance, nil
	}
	fs := cfg.State.FS
	path := fs.PathJoin(dir, "process")
	content, err := readFile(fs, path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	name, was, _ := strings.Cut(content, "\n")
	_, err = uuid.Parse(name)
	now := whereabouts(cfg, dir)
	switch {
	case err != nil:
		name = uuid.NewString()
	case was == now:
		return name, nil
	case was != "": // an older build has not noted it
		cfg.Logger.Warn("the state directory was copied or moved: the process gets a new name in the group, so that it does "+
			"not get in the way of the process of the other directory", "application", cfg.ApplicationID, "was", was, "now",
			now)
		name = uuid.NewString()
	}
	return name, replaceFile(fs, path, name+"\n"+now+"\n")
}

// whereabouts says on which machine a directory is, and where.
func whereabouts(cfg Config, dir string) string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	if cfg.State.FS == vfs.Default {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
	}
	return fmt.Sprintf("host %q directory %q", host, dir)
}

// stateFileBytesMax bounds a file beside the engine.
const stateFileBytesMax = 16 << 20

func readFile(fs vfs.FS, path string) (string, error) {
	f, err := fs.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, stateFileBytesMax+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", path, err)
	case len(b) > stateFileBytesMax:
		return "", fmt.Errorf("read %s: it has more than %d bytes, so this program has not written it: remove it", path,
			stateFileBytesMax)
	}
	return strings.TrimSpace(string(b)), nil
}

func writeFile(fs vfs.FS, path, content string) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(content))
	return errors.Join(err, f.Sync(), f.Close())
}

// replaceFile writes a file whole: after a crash it is the old one or the new one.
func replaceFile(fs vfs.FS, path, content string) error {
	if err := writeFile(fs, path+".new", content); err != nil {
		return err
	}
	return fs.Rename(path+".new", path)
}

// close releases the directory. The engine flushes what it has, which a disk that does not answer can put off for ever;
// on one that is full the engine waits until the application's time to close is over (see supervise). Then the
// directory stays locked until the process ends, and the changelogs have what is missing.
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
	if h.lock != nil && (h.engine == nil || !h.engine.Abandoned()) {
		errs = append(errs, h.lock.Close())
	}
	return errors.Join(errs...)
}

// place says where the application's state and topics lie. An empty directory: nothing is kept on disk.
func (h *home) place(cfg Config) origin.Place {
	return origin.Place{
		Application: cfg.ApplicationID, Directory: h.dir, Brokers: strings.Join(cfg.Seeds, ","),
	}
}
