package log

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Cut is a log as it was at one moment, on its way into a copy. Its files are kept by further links to them: what
// happens to the log after Link does not concern the copy.
type Cut struct {
	log        *Log
	segments   []cutSegment
	end        int64
	checkpoint checkpoint
	producers  producers
	aborted    []byte // the active segment's index of aborted transactions
	held       bool   // Log.maintain
}

// cutSegment is a segment and how much of its file belongs to the copy.
type cutSegment struct {
	base, size int64
}

// CutAll takes logs as they are at one moment: no append to any of them lies between two of the cuts. So a record is
// there with everything that was written before it, in whatever log. Segments are not deleted or replaced until Link or
// Release of each cut. Callers take turns. A log that has failed is an error.
func CutAll(logs []*Log) ([]*Cut, error) {
	holdMaintenance(logs)
	cuts := make([]*Cut, len(logs))
	for _, l := range logs {
		l.mu.Lock()
	}
	var err error
	for i, l := range logs {
		cuts[i] = &Cut{log: l, held: true}
		err = errors.Join(err, cuts[i].take())
	}
	for _, l := range logs {
		l.mu.Unlock()
	}
	if err != nil {
		for _, c := range cuts {
			c.Release()
		}
		return nil, err
	}
	return cuts, nil
}

// holdMaintenance takes maintain of all logs. Compaction may have that of one for long: it is waited for while the
// others are free.
func holdMaintenance(logs []*Log) {
	var busy *Log
	for {
		if busy != nil {
			busy.maintain.Lock()
		}
		next := -1
		for i, l := range logs {
			if l != busy && !l.maintain.TryLock() {
				next = i
				break
			}
		}
		if next < 0 {
			return
		}
		for _, l := range logs[:next] {
			if l != busy {
				l.maintain.Unlock()
			}
		}
		if busy != nil {
			busy.maintain.Unlock()
		}
		busy = logs[next]
	}
}

// take notes what the log is now. Log.mu is held.
func (c *Cut) take() error {
	l := c.log
	if err := l.check("copy"); err != nil {
		return err
	}
	for _, s := range *l.segments.Load() {
		c.segments = append(c.segments, cutSegment{s.base, s.size.Load()})
	}
	active := l.active()
	c.end = l.end.Load()
	c.checkpoint = l.checkpoint
	l.noteAges(&c.checkpoint)
	c.checkpoint.synced, c.checkpoint.logStart = c.end, l.start.Load()
	c.checkpoint.cleanSegment, c.checkpoint.cleanSize = active.base, active.size.Load()
	c.producers = maps.Clone(l.producers)
	active.txnMu.RLock()
	c.aborted = encodeAborted(active.aborted)
	active.txnMu.RUnlock()
	return nil
}

// Release lets the log's maintenance continue.
func (c *Cut) Release() {
	if c.held {
		c.held = false
		c.log.maintain.Unlock()
	}
}

// Link makes a directory and links the cut's files into it, on the log's file system; and it releases the cut.
func (c *Cut) Link(dir string) error {
	defer c.Release()
	fs := c.log.options.FS
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("directory %s: make: %w", dir, err)
	}
	for _, s := range c.segments {
		for _, suffix := range c.suffixes(s) {
			name := fileName(s.base, suffix)
			err := fs.Link(fs.PathJoin(c.log.options.Dir, name), fs.PathJoin(dir, name))
			if err != nil && (suffix == logSuffix || !isNotExist(err)) { // the others can be made again
				return fmt.Errorf("file %s: link: %w", name, err)
			}
		}
	}
	return nil
}

// suffixes are the files of a segment that belong to the copy. Those beside the active segment are as of another time.
func (c *Cut) suffixes(s cutSegment) []string {
	if s == c.segments[len(c.segments)-1] {
		return []string{logSuffix}
	}
	return segmentSuffixes()
}

// Copy writes the log into a directory that it makes, durably, from the one that Link was given. Open finds it as after
// a clean close.
func (c *Cut) Copy(ctx context.Context, linked, dir string) error {
	fs := c.log.options.FS
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("directory %s: make: %w", dir, err)
	}
	for _, s := range c.segments {
		for _, suffix := range c.suffixes(s) {
			size := s.size
			if suffix != logSuffix {
				size = -1
			}
			name := fileName(s.base, suffix)
			err := copyFile(ctx, fs, fs.PathJoin(linked, name), fs.PathJoin(dir, name), size)
			if err != nil && (suffix == logSuffix || !isNotExist(err)) {
				return fmt.Errorf("file %s: copy: %w", fs.PathJoin(dir, name), err)
			}
		}
	}
	active := c.segments[len(c.segments)-1]
	err := writeFile(fs, fs.PathJoin(dir, fileName(active.base, txnIndexSuffix)), c.aborted, true)
	if err != nil {
		return err
	}
	err = writeFile(fs, fs.PathJoin(dir, fileName(c.end, producersSuffix)), c.producers.encode(c.end), true)
	if err != nil {
		return err
	}
	checkpoints, _, err := openCheckpoints(NewFiles(0), fs, dir)
	if err != nil {
		return err
	}
	if err := errors.Join(checkpoints.write(c.checkpoint, alone), checkpoints.close()); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

// Bytes returns the size of the segments.
func (c *Cut) Bytes() int64 {
	total := int64(0)
	for _, s := range c.segments {
		total += s.size
	}
	return total
}

// copyFile copies the first size bytes of a file, or all of it for a negative size, durably.
func copyFile(ctx context.Context, fs vfs.FS, from, to string, size int64) error {
	src, err := fs.Open(from)
	if err != nil {
		return err
	}
	if size < 0 {
		info, err := src.Stat()
		if err != nil {
			return errors.Join(err, src.Close())
		}
		size = info.Size()
	}
	dst, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return errors.Join(err, src.Close())
	}
	buf := make([]byte, min(size, scanBytes))
	for at := int64(0); at < size && err == nil; at += int64(len(buf)) {
		buf = buf[:min(size-at, scanBytes)]
		if _, err = io.ReadFull(src, buf); err == nil {
			_, err = dst.Write(buf)
		}
		err = cmp.Or(err, ctx.Err())
	}
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, src.Close(), dst.Close())
}
