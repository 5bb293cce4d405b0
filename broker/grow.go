package broker

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

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
// A failure removes the directories. A crash before the end of 4 leaves that to the next start. So does a failure to
// sync the record of 4: only the next start knows whether it is there.
func (b *broker) grow(mt *meta.Topic, first int32) error {
	if err := b.finishEarlierRemoval(mt.Name); err != nil {
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
	switch {
	case errors.Is(err, errUndecided): // the next start finds the topic with its directories, or removes them
		for _, p := range made {
			err = errors.Join(err, p.log.Close())
		}
		return err
	case err != nil:
		for _, p := range made {
			err = errors.Join(err, p.log.Release())
		}
		b.finishRemovals([]meta.Removal{plan})
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
	all := make([]*partition, mt.Partitions-first)
	errs := make([]error, len(all))
	var failed atomic.Bool
	b.gathering.Each(len(all), func(i int, together *log.Together) {
		if failed.Load() {
			return
		}
		p := &partition{topic: mt.Name, index: first + int32(i)}
		p.log, errs[i] = b.openLog(mt.Name, p.index, b.logConfig(mt), false, together)
		if errs[i] != nil {
			failed.Store(true)
			return
		}
		b.configure(p, mt)
		all[i] = p
	})
	made = slices.DeleteFunc(all, func(p *partition) bool { return p == nil })
	return made, errors.Join(errs...)
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

// errUndecided says that the log has a record, and that only the next start can tell whether it lasts.
var errUndecided = errors.New("whether the change lasts shows at the next start")

// changeMetadata makes a change of the metadata durable.
func (b *broker) changeMetadata(f func() (coord.Step, error)) error {
	lsn, err := b.noteMetadata(f)
	if err != nil {
		return err
	}
	if err := b.waitDurable(b.meta, lsn); err != nil {
		return fmt.Errorf("%w: %w", errUndecided, err)
	}
	return nil
}

// noteMetadata changes the metadata. The LSN is for waitDurable.
func (b *broker) noteMetadata(f func() (coord.Step, error)) (lsn int64, err error) {
	var failed error
	lsn, err = b.meta.Do(func(time.Time) (step coord.Step) {
		if step, failed = f(); failed != nil {
			return coord.Step{}
		}
		return step
	})
	if err = errors.Join(failed, err); err != nil {
		return -1, fmt.Errorf("broker: change metadata: %w", err)
	}
	return lsn, nil
}
