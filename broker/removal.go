package broker

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/meta"
)

// A directory of a deleted partition goes in two steps. It is renamed to a name that ends in .deleted, which no
// partition has: its old name is free from then on, and a start that finds the new one knows what to do. Its files are
// removed later, in the background, since that takes long where they are many or large.

// maxNameBytes is the longest name that the usual file systems allow.
const maxNameBytes = 255

// asideName returns a new name for the directory of a partition, which neither a partition nor another directory has.
func asideName(name, suffix string) string {
	at := max(strings.LastIndexByte(name, '-'), 0)
	tail := name[at:] + "." + strings.ReplaceAll(uuid.NewString(), "-", "") + suffix
	return name[:min(at, maxNameBytes-len(tail))] + tail
}

// moveAside renames a directory that looks like a partition's and belongs to no topic. Only an operator removes it.
func (b *broker) moveAside(dir string) error {
	aside := b.cfg.FS.PathJoin(b.cfg.Dir, asideName(b.cfg.FS.PathBase(dir), straySuffix))
	b.cfg.Logger.Warn("broker: this directory belongs to no topic: it is moved aside; remove it if nobody needs it",
		"dir", dir, "to", aside)
	return b.cfg.FS.Rename(dir, aside)
}

// finishEarlierRemoval frees the directory names of an earlier topic of that name, or of an attempt to make it.
// b.admin is held.
func (b *broker) finishEarlierRemoval(name string) error {
	var r meta.Removal
	pending := false
	if _, err := b.meta.View(func(time.Time) { r, pending = b.metaMachine.Removals()[name] }); err != nil {
		return err
	}
	if pending && !b.finishRemovals([]meta.Removal{r}) {
		return fmt.Errorf("broker: what is left of an earlier topic %s can't be removed: see the log", name)
	}
	return nil
}

// finishRemovals takes away directories that the metadata says are no topic's, and the offsets of deleted topics, and
// notes that they are gone. What fails is logged, and left for the next start. b.admin is held, or the broker is
// starting.
func (b *broker) finishRemovals(all []meta.Removal) (done bool) {
	if len(all) == 0 {
		return true
	}
	var free []meta.Removal
	var doomed []string
	for _, r := range all {
		dirs, ok := b.freeNames(r)
		doomed = append(doomed, dirs...)
		if ok {
			free = append(free, r)
		}
	}
	defer b.removeLater(doomed)
	if err := syncDir(b.cfg.FS, b.cfg.Dir); err != nil {
		b.cfg.Logger.Error("broker: remove deleted partitions; it is tried again at the next start", "dir", b.cfg.Dir,
			"err", err)
		return false
	}
	free, ok := b.forgetOffsets(free)
	for _, r := range free {
		// Without this record the next start finds nothing to remove, and writes it.
		step := func() (coord.Step, error) { return b.metaMachine.Removed(r.Name), nil }
		if _, err := b.noteMetadata(step); err != nil {
			b.cfg.Logger.Warn("broker: note that a deleted partition is removed", "topic", r.Name, "err", err)
		}
	}
	return ok && len(free) == len(all)
}

// freeNames renames the directories of a removal. It returns what they are called now.
func (b *broker) freeNames(r meta.Removal) (doomed []string, ok bool) {
	failures := 0
	var failed error // the first
	for i := r.First; i < r.End; i++ {
		if b.topics.load().byName[r.Name].has(i) {
			continue
		}
		to, err := b.freeName(partitionDir(r.Name, i))
		if err != nil {
			failures++
			failed = cmp.Or(failed, err)
		}
		if to != "" {
			doomed = append(doomed, to)
		}
	}
	if failed != nil {
		b.cfg.Logger.Error("broker: remove deleted partitions; it is tried again at the next start", "topic", r.Name,
			"directories", failures, "err", failed)
	}
	return doomed, failed == nil
}

// freeName renames the directory of a partition. It returns what it is called now, or nothing where it is gone.
func (b *broker) freeName(name string) (doomed string, err error) {
	dir := b.cfg.FS.PathJoin(b.cfg.Dir, name)
	files, err := b.cfg.FS.List(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("directory %s: list: %w", dir, err)
	case slices.ContainsFunc(files, func(f string) bool { return !logFile.MatchString(f) }):
		b.cfg.Logger.Warn("broker: the directory of a deleted partition holds other files, and stays", "dir", dir)
		return "", nil
	}
	doomed = b.cfg.FS.PathJoin(b.cfg.Dir, asideName(name, "."+deletedSuffix))
	if err = b.cfg.FS.Rename(dir, doomed); err == nil {
		return doomed, nil
	}
	// The disk may have no room for another name.
	if b.cfg.FS.RemoveAll(dir) == nil {
		return "", nil
	}
	return "", fmt.Errorf("directory %s: rename: %w", dir, err)
}

// forgetOffsets durably deletes what groups have committed for deleted topics: a topic of the same name must not find
// it. It returns the removals for which that is done.
func (b *broker) forgetOffsets(removals []meta.Removal) (done []meta.Removal, ok bool) {
	last := int64(-1)
	var names []string
	var failed error
	for _, r := range removals {
		if r.First > 0 || isInternal(r.Name) || b.topics.load().byName[r.Name] != nil {
			done = append(done, r)
			continue
		}
		lsn, err := b.groups.Do(func(time.Time) coord.Step { return b.groupMachine.DeleteTopic(r.Name) })
		if names = append(names, r.Name); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		last, done = lsn, append(done, r)
	}
	if err := b.waitDurable(b.groups, last); err != nil {
		failed, done = errors.Join(failed, err), nil
	}
	if failed != nil {
		b.cfg.Logger.Error("broker: delete the offsets of deleted topics; it is tried again at the next start", "topics",
			names, "err", failed)
	}
	return done, failed == nil
}

// remover removes the directories of deleted partitions, one after the other.
type remover struct {
	mu      sync.Mutex
	dirs    []string
	running bool
}

// removeLater removes renamed directories in the background. A close comes between two of them; the next start
// continues.
func (b *broker) removeLater(dirs []string) {
	r := &b.remover
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirs = append(r.dirs, dirs...)
	if len(r.dirs) == 0 || r.running || !b.startWork() {
		return
	}
	r.running = true
	go func() {
		defer b.background.Done()
		for dir := r.next(); dir != ""; dir = r.next() {
			if b.stopping() {
				return
			}
			if err := b.cfg.FS.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				b.cfg.Logger.Error("broker: remove a deleted partition; it is tried again at the next start", "dir", dir,
					"err", err)
			}
		}
	}()
}

// next takes the next directory, or ends the run.
func (r *remover) next() (dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.dirs) == 0 {
		r.running, r.dirs = false, nil
		return ""
	}
	dir, r.dirs = r.dirs[0], r.dirs[1:]
	return dir
}

// stopping tells that the broker closes.
func (b *broker) stopping() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}
