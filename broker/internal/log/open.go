package log

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Open opens a partition's log, or makes an empty one. After anything but a clean close it looks at every batch above
// the last synced offset, cuts a torn end, and syncs what is left. Damage below that offset is an error that wraps
// KAFKA_STORAGE_ERROR.
func Open(o Options) (*Log, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	l := &Log{options: o, synced: make(chan struct{}), maintain: newUpkeep()}
	l.marked.Store(-1)
	l.SetConfig(o.Config)
	l.tail.memory, l.tail.maxBytes = o.Memory, l.Config().TailBytes
	err := l.open()
	l.options.Together = nil // it is for opening alone
	if err != nil {
		var errs []error
		if l.checkpoints != nil {
			errs = append(errs, l.checkpoints.close())
		}
		if segments := l.segments.Load(); segments != nil {
			for _, s := range *segments {
				errs = append(errs, s.close())
			}
		}
		return nil, fmt.Errorf("log: %s: open %s: %w", o.name(), o.Dir, errors.Join(append([]error{err}, errs...)...))
	}
	return l, nil
}

func (l *Log) open() error {
	fs, dir := l.options.FS, l.options.Dir
	if _, err := fs.Stat(dir); l.options.Known && isNotExist(err) {
		return fmt.Errorf("the directory of the partition is missing, with all of its records: %w", kerr.KafkaStorageError)
	}
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("directory %s: make: %w", dir, err)
	}
	var err error
	if l.checkpoints, l.checkpoint, err = openCheckpoints(l.options.Files, fs, dir); err != nil {
		return err
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("directory %s: list: %w", dir, err)
	}
	if names, err = l.finishSwaps(names); err != nil {
		return err
	}
	r := recovery{log: l, names: names, imported: !l.checkpoints.found()}
	if err := r.openSegments(); err != nil {
		return err
	}
	r.loadProducers()
	if err := r.scan(); err != nil {
		return err
	}
	return r.finish()
}

// recovery is the work of Open.
type recovery struct {
	log      *Log
	names    []string // in the directory
	segments []*segment
	clean    bool
	end      int64      // offset after the last good batch
	snapshot int64      // the producers' state is as of this offset
	first    int        // number of the first segment whose batches are looked at
	foreign  []*segment // without ages of their own
	// imported: there is no checkpoint. The files come from elsewhere, or it was lost.
	imported bool
}

// openSegments opens the files, and makes one if there is none.
func (r *recovery) openSegments() error {
	l := r.log
	fs, dir := l.options.FS, l.options.Dir
	var bases []int64
	for _, name := range r.names {
		if slices.ContainsFunc([]string{tempSuffix, cleanedSuffix, swapTxnSuffix}, func(suffix string) bool {
			return strings.HasSuffix(name, suffix)
		}) {
			if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
				return fmt.Errorf("file %s: remove: %w", name, err)
			}
		}
		if base, ok := parseFileName(name, logSuffix); ok {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	// What lies wholly below the start was being deleted.
	for len(bases) > 1 && bases[1] <= l.checkpoint.logStart {
		if err := (&segment{fs: fs, dir: dir, base: bases[0]}).remove(); err != nil {
			return err
		}
		bases = bases[1:]
	}
	for _, base := range bases {
		s, modified, err := openSegment(l.options.Files, fs, dir, base)
		if err != nil {
			return fmt.Errorf("from offset %d on: %w", base, err)
		}
		r.add(s)
		r.loadAges(s, modified)
	}
	if err := r.checkFirst(bases); err != nil {
		return err
	}
	if len(bases) == 0 {
		s, err := createSegment(l.options.Files, fs, dir, l.checkpoint.logStart)
		if err != nil {
			return err
		}
		l.dirUnsynced = true
		r.add(s)
	}
	last := r.segments[len(r.segments)-1]
	r.clean = last.base == l.checkpoint.cleanSegment && last.size.Load() == l.checkpoint.cleanSize
	for i, s := range r.segments[:len(r.segments)-1] {
		s.next.Store(r.segments[i+1].base)
		s.sealed.Store(true)
	}
	if r.clean {
		r.end, l.snapshotAt = l.checkpoint.synced, l.checkpoint.cleanSize
		last.next.Store(r.end)
	}
	return nil
}

// checkFirst tells that the files that begin the log are missing, and from which offset on.
func (r *recovery) checkFirst(bases []int64) error {
	l := r.log
	start, found := l.checkpoint.logStart, "no segment"
	switch {
	case len(bases) > 0 && (r.imported || bases[0] <= start):
		return nil
	case len(bases) > 0:
		found = fmt.Sprintf("the first segment begins at offset %d", bases[0])
	case !l.options.Known && r.imported, !r.imported && l.checkpoint.synced <= start:
		return nil // it is new, or was emptied
	case r.imported:
		return fmt.Errorf("directory %s has neither a segment nor a checkpoint: all records of the partition are missing: "+
			"%w", l.options.Dir, kerr.KafkaStorageError)
	}
	return fmt.Errorf("directory %s: segment %s is missing (%s), and the log was synced from offset %d up to %d; restore "+
		"the file: %w", l.options.Dir, fileName(start, logSuffix), found, start, l.checkpoint.synced,
		kerr.KafkaStorageError)
}

// finishSwaps completes the replacements of segments that a crash interrupted. It returns the names in the directory.
func (l *Log) finishSwaps(names []string) ([]string, error) {
	fs, dir, finished := l.options.FS, l.options.Dir, false
	for _, name := range names {
		first, end, ok := parseSwapName(name, swapSuffix)
		if !ok {
			continue
		}
		if err := finishSwap(fs, dir, first, end, l.syncs()); err != nil {
			return nil, err
		}
		finished = true
	}
	if !finished {
		return names, nil
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("directory %s: list: %w", dir, err)
	}
	return names, nil
}

func (r *recovery) add(s *segment) {
	s.sparse.Store(s.base < r.log.checkpoint.sparse)
	r.segments = append(r.segments, s)
	segments := r.segments[:len(r.segments):len(r.segments)]
	r.log.segments.Store(&segments)
}

// loadProducers takes the newest snapshot that can be trusted, and decides from which segment on to look at batches.
func (r *recovery) loadProducers() {
	l := r.log
	offsets := snapshotOffsets(r.names)
	slices.Sort(offsets)
	r.snapshot = -1
	for _, offset := range slices.Backward(offsets) {
		name := l.options.FS.PathJoin(l.options.Dir, fileName(offset, producersSuffix))
		// One ahead of the last synced offset may speak of batches that a power cut took.
		if offset > l.checkpoint.synced {
			continue
		}
		content, err := readFile(l.options.FS, name)
		if err == nil {
			l.producers, err = decodeProducers(content, offset)
		}
		if err == nil {
			r.snapshot = offset
			break
		}
		l.options.Logger.Warn("producer snapshot not usable", "partition", l.options.name(), "file", name, "err", err)
	}
	if !r.loadAborted() {
		r.snapshot = -1
	}
	if r.snapshot < 0 {
		l.producers = make(producers)
		r.first = 0
		return
	}
	r.first = segmentOf(r.segments, r.snapshot)
	switch {
	case !r.clean:
		r.first = min(r.first, segmentOf(r.segments, l.checkpoint.synced))
	case r.snapshot == r.end:
		r.first = len(r.segments)
	}
}

// loadAborted reads the indexes of aborted transactions up to the snapshot. It returns false when one is missing: only
// the batches can tell then.
func (r *recovery) loadAborted() bool {
	if r.snapshot < 0 {
		return false
	}
	for _, s := range r.segments {
		if s.base >= r.snapshot {
			break
		}
		content, err := readFile(s.fs, s.path(txnIndexSuffix))
		if err != nil {
			return false
		}
		aborted, ok := decodeAborted(content)
		if !ok {
			return false
		}
		s.aborted = slices.DeleteFunc(aborted, func(a abortedTxn) bool { return a.last >= r.snapshot })
	}
	return true
}

// finish makes what was found durable, and publishes it.
func (r *recovery) finish() error {
	l := r.log
	start := max(l.checkpoint.logStart, r.segments[0].base)
	if start > r.end {
		// What was trimmed had not been synced, and is gone by itself.
		s, err := createSegment(l.options.Files, l.options.FS, l.options.Dir, start)
		if err != nil {
			return err
		}
		r.add(s)
		r.end, l.snapshotAt = start, 0
	}
	if ahead := l.config.Load().AheadBytes; ahead > 0 {
		active := r.segments[len(r.segments)-1]
		if file, err := active.file.pin(); err == nil { // else the first read or append says so
			active.keepAhead(file, 0, ahead)
			active.file.unpin()
		}
	}
	l.start.Store(start)
	l.end.Store(r.end)
	r.settleSparse()
	r.completeAges()
	for i, s := range r.segments[:len(r.segments)-1] {
		if i < r.first {
			continue
		}
		s.index.used = false
		if err := r.reseal(s); err != nil { // the next open makes them again
			l.options.Logger.Warn("index not written", "partition", l.options.name(), "file", s.path(indexSuffix),
				"err", err)
		}
	}
	if err := r.dropSnapshots(); err != nil {
		return err
	}
	// After a clean close there is nothing to sync, and nothing to note: the next append changes the size of the
	// active segment, by which the mark of the clean close is void.
	untouched := r.clean && r.first == len(r.segments)
	if l.syncs() && !untouched {
		if err := l.options.Together.fsync(r.sync); err != nil {
			return err
		}
	}
	l.dirUnsynced = false
	l.durable.Store(r.end)
	l.high.Store(r.end)
	l.openTxns = l.openTxns.complete(math.MaxInt64)
	l.lastStable.Store(l.openTxns.stable(r.end))
	end := r.end
	if !l.syncs() || untouched {
		l.keepAges()
		return nil
	}
	err := l.saveCheckpoint(func(cp *checkpoint) { cp.synced, cp.logStart = end, start }, l.options.Together.fsync)
	if errors.Is(err, errNotWritten) { // the next open looks at the same batches again
		l.options.Logger.Warn("checkpoint not written", "partition", l.options.name(), "err", err)
		return nil
	}
	return err
}

// sync syncs what recovery found or changed.
func (r *recovery) sync() error {
	for i := min(r.first, len(r.segments)-1); i < len(r.segments); i++ {
		if err := r.segments[i].sync(); err != nil {
			return err
		}
	}
	fs, dir := r.log.options.FS, r.log.options.Dir
	return errors.Join(syncDir(fs, dir), syncDir(fs, fs.PathDir(dir)))
}

// settleSparse notes that what is appended from here on has no gaps.
func (r *recovery) settleSparse() {
	cp := &r.log.checkpoint
	cp.sparse = min(cp.sparse, r.end)
	for _, s := range r.segments {
		s.sparse.Store(s.base < cp.sparse)
	}
}

// reseal writes the index files of a sealed segment that were rebuilt.
func (r *recovery) reseal(s *segment) error {
	return replaceAll(s.fs, s.indexFiles(), r.log.syncs(), r.log.options.Together)
}

// dropSnapshots removes the producer snapshots that speak of batches that are gone.
func (r *recovery) dropSnapshots() error {
	fs, dir := r.log.options.FS, r.log.options.Dir
	for _, offset := range snapshotOffsets(r.names) {
		if offset > r.end {
			if err := fs.Remove(fs.PathJoin(dir, fileName(offset, producersSuffix))); err != nil {
				return fmt.Errorf("producer snapshot %d: remove: %w", offset, err)
			}
		}
	}
	return nil
}
