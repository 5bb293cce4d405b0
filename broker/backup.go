package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/broker/internal/log"
)

const (
	// linksDir holds, while a backup runs, links to the files that it copies.
	linksDir = "BACKUP"
	// partialSuffix is that of a backup's directory until it is complete.
	partialSuffix = ".partial"
)

// Backup copies the data directory into dir, on the same file system interface, while the broker runs.
//
//  1. Take all logs as they are at one moment (log.CutAll). Appends wait for that, for about as long as a lock takes
//     for each log.
//  2. Link their files aside, so that retention and compaction do not matter.
//  3. Copy the links into a directory beside dir, sync it to the disk, and rename it.
func (b *broker) Backup(ctx context.Context, dir string) error {
	if !b.startWork() {
		return ErrClosed
	}
	defer b.background.Done()
	if !b.copying.TryLock() {
		return errors.New("broker: backup: another one is running; wait for its end")
	}
	defer b.copying.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-b.stop:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	if err := b.backup(ctx, dir); err != nil {
		return fmt.Errorf("broker: backup to %s: %w", dir, err)
	}
	return nil
}

func (b *broker) backup(ctx context.Context, dir string) error {
	files := b.cfg.FS
	dir = strings.TrimRight(dir, "/")
	if dir == "" {
		return errors.New("it has no name: name a directory that does not exist")
	}
	partial := dir + partialSuffix
	if _, err := files.Stat(partial); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s is in the way, which a backup that was killed may have left: remove it", partial)
		}
		return err
	}
	there, err := files.List(dir)
	switch {
	case err == nil && len(there) > 0:
		return errors.New("the directory is not empty: name one that does not exist")
	case err == nil:
		err = files.Remove(dir)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	links := files.PathJoin(b.cfg.Dir, linksDir)
	defer func() {
		if err := errors.Join(files.RemoveAll(links), files.RemoveAll(partial)); err != nil {
			b.cfg.Logger.Error("broker: clear up after a backup", "err", err)
		}
	}()
	if err := files.RemoveAll(links); err != nil {
		return err
	}
	cuts, err := b.cut(links)
	if err != nil {
		return err
	}
	if err := makeDir(files, partial); err != nil {
		return err
	}
	for name, c := range cuts {
		if err := c.Copy(ctx, files.PathJoin(links, name), files.PathJoin(partial, name)); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
	if err := b.copyTime(partial); err != nil {
		return err
	}
	if err := syncDir(files, partial); err != nil {
		return err
	}
	if err := files.Rename(partial, dir); err != nil {
		return err
	}
	return syncDir(files, files.PathDir(dir))
}

// cut takes all logs at one moment and links their files into directories below links. It returns the cuts by the names
// of those directories. Topics are neither made nor deleted meanwhile.
func (b *broker) cut(links string) (map[string]*log.Cut, error) {
	b.admin.Lock()
	defer b.admin.Unlock()
	logs, names := []*log.Log{b.metaLog}, []string{partitionDir(metadataName, 0)}
	for _, t := range b.topics.load().byName {
		for _, p := range t.partitions {
			if p.log == nil {
				return nil, fmt.Errorf("partition %s-%d is offline, and would be missing in the copy: the log says why; "+
					"repair it or delete the topic", p.topic, p.index)
			}
			logs, names = append(logs, p.log), append(names, partitionDir(p.topic, p.index))
		}
	}
	taken, err := log.CutAll(logs)
	if err != nil {
		return nil, err
	}
	cuts := make(map[string]*log.Cut, len(taken))
	for i, c := range taken {
		if err == nil {
			err = c.Link(b.cfg.FS.PathJoin(links, names[i]))
		}
		c.Release()
		cuts[names[i]] = c
	}
	return cuts, err
}

// copyTime writes the steady clock's time into the copy.
func (b *broker) copyTime(dir string) error {
	f, err := b.cfg.FS.Create(b.cfg.FS.PathJoin(dir, timeFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b.timeText())
	return errors.Join(err, f.Sync(), f.Close())
}

// clearLinks removes what a killed backup left.
func (b *broker) clearLinks() error {
	names, err := b.cfg.FS.List(b.cfg.Dir)
	if err != nil || !slices.Contains(names, linksDir) {
		return err
	}
	return b.cfg.FS.RemoveAll(b.cfg.FS.PathJoin(b.cfg.Dir, linksDir))
}

func syncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
