package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/dirlock"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/state/pebble"
)

// LocalState is what an application has on the disk of this machine: the local copies of its stores, while the
// application does not run here. It is not safe for concurrent use.
type LocalState struct {
	dir      string
	fs       vfs.FS
	lock     io.Closer
	readOnly bool                         // the file system is
	engine   *pebble.Engine               // for reading
	noted    map[string]int               // which sub-topology has a store; nil: not known
	used     func(state.Stored) time.Time // of an older build; nil: there is none
}

// unlocked is a file system that is read-only, where no lock can be taken and none is needed.
type unlocked struct{ vfs.FS }

func (unlocked) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// LocalStore is one partition of a store on the disk.
type LocalStore struct {
	state.Stored
	// Task is the task that the program which ran last has the store in. It is empty for a global store, and for one
	// that the program does not have.
	Task string
	// Gone tells that the program which ran last has no such store.
	Gone bool
	// Rows and Bytes are estimates. Rows that were overwritten or deleted count until their tables are compacted.
	Rows, Bytes int64
}

// OpenLocalState opens the state of an application: dir is <Config.State.Dir>/<application>, and a nil fs means the
// operating system's. It fails while an application runs there, and keeps one from starting until Close. It needs no
// space on the disk. No application runs on a file system that is read-only, where no lock is needed: Stores works,
// and Drop fails.
func OpenLocalState(dir string, fs vfs.FS) (*LocalState, error) {
	if fs == nil {
		fs = vfs.Default
	}
	if _, err := fs.Stat(fs.PathJoin(dir, "state")); err != nil {
		return nil, ofKind(ErrStateUnusable, fmt.Errorf("state directory %s: %w%s", dir, err, applicationsIn(fs, dir)))
	}
	lock, err := dirlock.Acquire(fs, dir, homeLock)
	readOnly := errors.Is(err, syscall.EROFS)
	switch {
	case readOnly:
		fs, lock = unlocked{fs}, io.NopCloser(nil)
	case errors.Is(err, dirlock.ErrInUse):
		return nil, ofKind(ErrStateInUse, fmt.Errorf("state %w: close the application that runs there", err))
	case err != nil:
		return nil, ofKind(ErrStateUnusable, fmt.Errorf("state %w: this process must be able to write there, as the "+
			"application does", err))
	}
	l := &LocalState{dir: dir, fs: fs, lock: lock, readOnly: readOnly}
	if err := l.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return l, nil
}

func (l *LocalState) open() (err error) {
	if l.noted, err = notedStores(l.fs, l.fs.PathJoin(l.dir, "stores")); err == nil {
		l.used, err = usedTimes(l.fs, l.dir)
	}
	if err != nil {
		return fmt.Errorf("state directory %s: %w", l.dir, err)
	}
	return l.read()
}

// read opens the engine for reading.
func (l *LocalState) read() (err error) {
	l.engine, err = pebble.Open(l.fs.PathJoin(l.dir, "state"), pebble.Options{FS: l.fs, ReadOnly: true})
	return err
}

// change opens the engine for a change, and closes it, which returns the space of what is deleted.
func (l *LocalState) change(do func(*pebble.Engine) error) error {
	e, err := pebble.Open(l.fs.PathJoin(l.dir, "state"), pebble.Options{FS: l.fs, NoReserve: true})
	if err != nil {
		return err
	}
	return errors.Join(do(e), e.Close())
}

// applicationsIn helps a caller that named the directory above.
func applicationsIn(fs vfs.FS, dir string) string {
	var found []string
	names, _ := fs.List(dir)
	for _, name := range names {
		if _, err := fs.Stat(fs.PathJoin(dir, name, "state")); err == nil {
			found = append(found, fs.PathJoin(dir, name))
		}
	}
	if len(found) == 0 {
		return ": it is <Config.State.Dir>/<application>"
	}
	slices.Sort(found)
	return ": it is one of " + strings.Join(found, ", ")
}

// Stores returns what is there, in the order of partitions and names; the global stores come first.
func (l *LocalState) Stores() ([]LocalStore, error) {
	stored, err := state.ReadStored(l.engine)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", l.dir, err)
	}
	var stores []LocalStore
	for _, s := range stored {
		if s.Partition < 0 && task.IsGlobalOffsets(s.Store) {
			continue
		}
		o := LocalStore{Stored: s}
		sub, here := l.noted[s.Store]
		here = here && (sub < 0) == (s.Partition < 0)
		if here && sub >= 0 {
			o.Task = TaskID{sub, s.Partition}.String()
		}
		o.Gone = l.noted != nil && !here
		if o.Synced.IsZero() && l.used != nil {
			o.Synced = l.used(s)
		}
		if o.Rows, o.Bytes, err = l.engine.Usage(s.Lower, s.Upper); err != nil {
			return nil, fmt.Errorf("state directory %s: %w", l.dir, err)
		}
		stores = append(stores, o)
	}
	return stores, nil
}

// Drop deletes stores and returns their space to the file system. A store that the application still has is restored
// from its topic at the next start, if it has one: what a volatile store has is lost (Origin.Filling is
// state.FromNothing). It works on a disk that is full: files that have rows of dropped stores alone are deleted first,
// and others, of these stores and of those that were dropped before, are rewritten as far as there is space then. Where
// that is not all, the stores are dropped, and the error says what is missing.
func (l *LocalState) Drop(ctx context.Context, stores ...LocalStore) error {
	if l.readOnly {
		return fmt.Errorf("state directory %s: the file system is read-only: mount it for writing to drop stores", l.dir)
	}
	dropped := map[string]bool{} // by bounds
	var ranges []pebble.Range
	drop := func(s state.Stored) {
		if !dropped[string(s.Lower)] {
			dropped[string(s.Lower)] = true
			ranges = append(ranges, pebble.Range{Lower: s.Lower, Upper: s.Upper})
		}
	}
	all, err := state.ReadStored(l.engine)
	if err != nil {
		return fmt.Errorf("state directory %s: %w", l.dir, err)
	}
	for _, s := range stores {
		drop(s.Stored)
		if s.Partition >= 0 {
			continue
		}
		for _, o := range all { // how far it was filled goes with it, or it would not be filled again
			covers, err := l.covers(o, s.Store)
			if err != nil {
				return fmt.Errorf("state directory %s: %w", l.dir, err)
			}
			if covers {
				drop(o)
			}
		}
	}
	droppable, err := l.engine.Droppable(ranges...)
	if err = errors.Join(err, l.engine.Close()); err != nil {
		return fmt.Errorf("state directory %s: %w", l.dir, err)
	}
	freed := droppable.Free()
	if err = l.change(func(e *pebble.Engine) error { return e.Drop(ctx, ranges...) }); err != nil {
		err = errors.Join(err, freed)
	} else {
		err = l.reclaim(ctx)
	}
	if err = errors.Join(err, l.read()); err != nil {
		return fmt.Errorf("state directory %s: %w", l.dir, err)
	}
	return nil
}

// reclaimRoundsMax bounds the rounds of reclaim: the files that one has rewritten give their space to the next.
const reclaimRoundsMax = 20

// reclaim returns the space of rows that were dropped from files which have others.
func (l *LocalState) reclaim(ctx context.Context) error {
	before := -1
	for range reclaimRoundsMax {
		remain, leastBytes := 0, int64(0)
		err := l.change(func(e *pebble.Engine) (err error) {
			remain, leastBytes, err = e.Reclaim(ctx)
			return err
		})
		switch {
		case err != nil:
			return fmt.Errorf("the stores are dropped, but not all of their space is free: %w", err)
		case remain == 0:
			return nil
		case remain == before:
			return fmt.Errorf("the stores are dropped, but a part of their space is in %d files that have rows of other "+
				"stores, too: drop more, or free %d KiB on the disk and run `thalweg state drop %s -gone`, which returns the "+
				"space", remain, leastBytes>>10, l.dir)
		}
		before = remain
	}
	return nil
}

// covers tells whether a store has the offsets up to which a global store is filled.
func (l *LocalState) covers(offsets state.Stored, store string) (bool, error) {
	if offsets.Partition >= 0 || !task.IsGlobalOffsets(offsets.Store) {
		return false, nil
	}
	name := state.NewKV[string, int64](offsets.Store)
	_, _, ok, err := name.Read(state.NewReader(l.engine, state.GlobalNamespace())).Get(store)
	return ok, err
}

// Close lets applications start again.
func (l *LocalState) Close() error {
	var err error
	if l.engine != nil {
		err = l.engine.Close()
	}
	if err = errors.Join(err, l.lock.Close()); err != nil {
		return fmt.Errorf("state directory %s: %w", l.dir, err)
	}
	return nil
}
