package log

import (
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// rollFor returns the active segment, a new one if size bytes more are too much for it. l.mu is held.
func (l *Log) rollFor(size int, config *Config, age int64) (*segment, error) {
	active := l.active()
	used := active.size.Load()
	switch {
	case used == 0:
		return active, nil
	case used+int64(size) > min(config.SegmentBytes, maxSegmentBytes):
	case age-active.ages.created.Load() >= config.SegmentAge.Milliseconds():
	case l.end.Load()-active.base > math.MaxInt32/2:
	default:
		return active, nil
	}
	return l.roll()
}

// roll seals the active segment and begins another. On an error the active one stays. l.mu is held.
func (l *Log) roll() (*segment, error) {
	old, end := l.active(), l.end.Load()
	err := l.seal(old, nil, replacement{name: old.path(agesSuffix), content: old.ages.encode()})
	if err == nil && l.syncs() {
		err = syncDir(l.options.FS, l.options.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: roll: %w", kerr.KafkaStorageError, err)
	}
	fresh, err := createSegment(l.options.Files, l.options.FS, l.options.Dir, end)
	if err != nil {
		return nil, fmt.Errorf("%w: roll: %w", kerr.KafkaStorageError, err)
	}
	segments := *l.segments.Load()
	old.sealed.Store(true)
	segments = append(segments[:len(segments):len(segments)], fresh)
	l.segments.Store(&segments)
	l.dirUnsynced, l.snapshotAt = true, 0
	return fresh, nil
}

// snapshot writes what a start after a crash needs to know of the active segment, when much was appended since it was
// last done: that start reads what follows. It syncs in the steps of seal, but appends wait for renames alone. So the
// segment may be sealed meanwhile: its indexes are newer then, and stay. A failure, on a full disk say, costs nothing
// else. l.maintain is held.
func (l *Log) snapshot(config *Config) {
	l.mu.Lock()
	s, size, end := l.active(), l.active().size.Load(), l.end.Load()
	if l.closed || !l.syncs() || s.torn || size-l.snapshotAt < config.UncheckedBytes {
		l.mu.Unlock()
		return
	}
	indexes, producers := s.indexFiles(), l.producers.encode(end)
	l.mu.Unlock()
	err := l.writeSnapshot(s, indexes, replacement{
		name: l.options.FS.PathJoin(l.options.Dir, fileName(end, producersSuffix)), content: producers, beside: true,
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.dropSnapshots(end)
	}
	if err != nil {
		l.options.Logger.Warn("snapshot not written: a start after a crash takes longer", "partition", l.options.name(),
			"err", err)
		return
	}
	l.dirUnsynced = true
	if l.active() == s {
		l.snapshotAt = size
	}
}

// writeSnapshot writes and syncs the files of a snapshot of the active segment.
func (l *Log) writeSnapshot(s *segment, indexes []replacement, producers replacement) error {
	fs := l.options.FS
	for i := range indexes {
		indexes[i].beside = true
	}
	files := append(indexes[:len(indexes):len(indexes)], producers)
	if err := writeAll(fs, files, true, nil); err != nil {
		return err
	}
	l.mu.Lock()
	var err error
	if l.active() == s {
		err = eachOf(fs, indexes, replacement.install)
	} else {
		err = eachOf(fs, indexes, replacement.discard)
	}
	l.mu.Unlock()
	if err == nil {
		err = syncDir(fs, l.options.Dir)
	}
	if err == nil {
		err = producers.install(fs)
	}
	return err
}

// seal writes the indexes of a segment, and more, and the producers' state as of the end of the log. It syncs them in
// two steps: their contents, then the names of all but the producers' snapshot, whose name is for the caller to sync.
// l.mu is held.
func (l *Log) seal(s *segment, together *Together, more ...replacement) error {
	fs, dir, fsync, end := l.options.FS, l.options.Dir, l.syncs(), l.end.Load()
	if s.torn {
		if err := s.cut(); err != nil {
			return err
		}
	}
	indexes := keepSame(fs, append(s.indexFiles(), more...))
	snapshot := replacement{name: fs.PathJoin(dir, fileName(end, producersSuffix)), content: l.producers.encode(end)}
	if err := writeAll(fs, append(indexes[:len(indexes):len(indexes)], snapshot), fsync, together); err != nil {
		return err
	}
	if err := eachOf(fs, indexes, replacement.install); err != nil {
		return err
	}
	if fsync {
		// Before the snapshot exists: see producer_snapshot.go.
		if err := together.fsync(func() error { return syncDir(fs, dir) }); err != nil {
			return err
		}
	}
	if err := snapshot.install(fs); err != nil {
		return err
	}
	return l.dropSnapshots(end)
}

// dropSnapshots removes all producer snapshots but the newest two; the older is for the case that the newest is ahead
// of what a crash leaves. l.mu is held.
func (l *Log) dropSnapshots(end int64) error {
	names, err := l.options.FS.List(l.options.Dir)
	if err != nil {
		return fmt.Errorf("directory %s: list: %w", l.options.Dir, err)
	}
	synced := min(l.durable.Load(), l.checkpoint.synced)
	older := int64(-1) // the newest that is safe whatever happens now
	offsets := snapshotOffsets(names)
	for _, offset := range offsets {
		if offset <= synced && offset < end {
			older = max(older, offset)
		}
	}
	var errs []error
	for _, offset := range offsets {
		if offset < older {
			name := l.options.FS.PathJoin(l.options.Dir, fileName(offset, producersSuffix))
			errs = append(errs, l.options.FS.Remove(name))
		}
	}
	return errors.Join(errs...)
}

// snapshotOffsets picks the producer snapshots out of a directory's names.
func snapshotOffsets(names []string) []int64 {
	var offsets []int64
	for _, name := range names {
		if offset, ok := parseFileName(name, producersSuffix); ok {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}
