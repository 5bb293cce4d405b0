package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
)

// grow makes the partitions of mt from first on, all or none, and shows the topic to requests. b.admin is held.
//
//  1. Move aside what has the names of their directories.
//  2. Note in the metadata that their directories are to be removed. Nobody waits for the record: what a power cut may
//     leave without it are empty logs, which the next start moves aside.
//  3. Make the logs.
//  4. Put the topic into the metadata, take the note back in the same batch, and wait for it.
//
// A failure removes the directories, and a crash before the end of 4 leaves that to the next start.
func (b *broker) grow(mt *meta.Topic, first int32) error {
	if err := b.settleRemoval(mt.Name); err != nil {
		return err
	}
	for i := first; i < mt.Partitions; i++ {
		if err := b.makeWay(b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(mt.Name, i))); err != nil {
			return err
		}
	}
	plan := meta.Removal{Name: mt.Name, First: first, End: mt.Partitions}
	if _, err := b.noteMetadata(func() (coord.Step, error) { return b.metaMachine.Plan(plan) }); err != nil {
		return err
	}
	made, err := b.makeLogs(mt, first)
	if err == nil {
		err = b.changeMetadata(func() (coord.Step, error) { return b.metaMachine.Grow(mt) })
	}
	if err != nil {
		for _, p := range made {
			err = errors.Join(err, p.log.Delete())
		}
		b.finishRemoval(plan)
		return err
	}
	next := &topic{Topic: mt}
	if before := b.topics.load().byName[mt.Name]; before != nil {
		next.partitions = append(next.partitions, before.partitions...)
	}
	next.partitions = append(next.partitions, made...)
	b.topics.put(next)
	return nil
}

// makeLogs makes the logs of a topic's partitions from first on. On an error it returns those that it made.
func (b *broker) makeLogs(mt *meta.Topic, first int32) (made []*partition, err error) {
	for i := first; i < mt.Partitions; i++ {
		l, err := b.openLog(mt.Name, i, b.logConfig(mt))
		if err != nil {
			return made, err
		}
		p := &partition{topic: mt.Name, index: i, log: l}
		b.configure(p, mt)
		made = append(made, p)
	}
	return made, nil
}

// makeWay sees to it that a new partition does not take over what is in its directory already.
func (b *broker) makeWay(dir string) error {
	files, err := b.cfg.FS.List(dir)
	if err != nil || len(files) == 0 {
		return nil // there is none, or opening it will tell
	}
	if !holdsLog(b.cfg.FS, dir, false) {
		return fmt.Errorf("broker: directory %s is in the way: it holds files of somebody else; move it", dir)
	}
	return b.moveAside(dir)
}

// moveAside renames a directory that looks like a partition's and belongs to no topic. Only an operator removes it.
func (b *broker) moveAside(dir string) error {
	aside := dir + "." + strings.ReplaceAll(uuid.NewString(), "-", "") + straySuffix
	b.cfg.Logger.Warn("broker: this directory belongs to no topic: it is moved aside; remove it if nobody needs it",
		"dir", dir, "to", aside)
	return b.cfg.FS.Rename(dir, aside)
}

// settleRemoval removes what is left of an earlier topic of that name, or of an attempt to make it. b.admin is held.
func (b *broker) settleRemoval(name string) error {
	var r meta.Removal
	pending := false
	b.meta.View(func(time.Time) { r, pending = b.metaMachine.Removals()[name] })
	if pending && !b.finishRemoval(r) {
		return fmt.Errorf("broker: what is left of an earlier topic %s can't be removed: see the log", name)
	}
	return nil
}

// finishRemoval removes directories that the metadata says are no topic's, and notes that they are gone. What fails is
// logged, and left for the next start. b.admin is held, or the broker is starting.
func (b *broker) finishRemoval(r meta.Removal) (done bool) {
	for i := r.First; i < r.End; i++ {
		dir := b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(r.Name, i))
		if b.topics.load().byName[r.Name].has(i) {
			continue
		}
		files, err := b.cfg.FS.List(dir)
		if err == nil && slices.ContainsFunc(files, func(f string) bool { return !logFile.MatchString(f) }) {
			b.cfg.Logger.Warn("broker: the directory of a deleted partition holds other files, and stays", "dir", dir)
			continue
		}
		if err == nil {
			err = log.Remove(b.cfg.FS, dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.cfg.Logger.Error("broker: remove a deleted partition; it is tried again at the next start", "dir", dir,
				"err", err)
			return false
		}
	}
	// Without this record the next start finds nothing to remove, and writes it.
	step := func() (coord.Step, error) { return b.metaMachine.Removed(r.Name), nil }
	if _, err := b.noteMetadata(step); err != nil {
		b.cfg.Logger.Warn("broker: note that a deleted partition is removed", "topic", r.Name, "err", err)
	}
	return true
}

// changeMetadata makes a change of the metadata durable.
func (b *broker) changeMetadata(f func() (coord.Step, error)) error {
	ticket, err := b.noteMetadata(f)
	if err != nil {
		return err
	}
	return b.waitDurable(b.meta, ticket)
}

// noteMetadata changes the metadata. The ticket is for waiting for the disk.
func (b *broker) noteMetadata(f func() (coord.Step, error)) (ticket int64, err error) {
	var failed error
	ticket, err = b.meta.Do(func(time.Time) (step coord.Step) {
		if step, failed = f(); failed != nil {
			return coord.Step{}
		}
		return step
	})
	if err = errors.Join(failed, err); err != nil {
		return -1, fmt.Errorf("broker: change metadata: %w", err)
	}
	return ticket, nil
}
