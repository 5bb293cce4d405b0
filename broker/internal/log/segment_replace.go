package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/batch"
)

// segmentCopy is a new segment on its way into the place of several old ones, which follow on each other:
//
//  1. Write <first>-<end>.cleaned, the index of aborted transactions as .swaptxn, and the ages of all the old ones
//     together as those of the first; sync them.
//  2. Rename .cleaned to .swap, and sync the directory. From here on the new segment is the truth.
//  3. Delete the old segments but the first, and the indexes of that; rename .swaptxn to its .txnindex, and .swap to
//     its .log; sync the directory.
//
// Open removes what step 1 left, and does step 3 again when it finds a .swap.
type segmentCopy struct {
	log     *Log
	old     []*segment
	end     int64 // offset after the old segments
	fresh   *segment
	file    vfs.File       // of fresh, while it is written; nil after that
	pending []byte         // not yet written
	written int64          // bytes before it
	dropped map[int64]bool // offsets of markers that are gone
	every   int            // distance of index entries
}

const (
	swapSuffix    = ".swap"
	swapTxnSuffix = ".swaptxn"
)

func swapName(first, end int64, suffix string) string {
	return fmt.Sprintf("%020d-%020d%s", first, end, suffix)
}

// parseSwapName is the inverse of swapName.
func parseSwapName(name, suffix string) (first, end int64, ok bool) {
	a, b, found := strings.Cut(strings.TrimSuffix(name, suffix), "-")
	if !found || !strings.HasSuffix(name, suffix) {
		return 0, 0, false
	}
	first, okA := parseFileName(a, "")
	end, okB := parseFileName(b, "")
	return first, end, okA && okB
}

func newCopy(l *Log, old []*segment) (*segmentCopy, error) {
	w := &segmentCopy{
		log:     l,
		old:     old,
		end:     old[len(old)-1].next.Load(),
		fresh:   newSegment(l.options.Files, l.options.FS, l.options.Dir, old[0].base),
		dropped: make(map[int64]bool),
		every:   l.config.Load().IndexBytes,
	}
	for _, s := range old {
		w.fresh.ages.merge(s.ages.created.Load(), s.ages.appended.Load())
	}
	w.fresh.index.reset()
	w.fresh.sealed.Store(true)
	w.fresh.sparse.Store(true)
	file, err := l.options.FS.Create(w.path(cleanedSuffix), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("segment %s: create: %w", w.path(cleanedSuffix), err)
	}
	w.file = file
	return w, nil
}

func (w *segmentCopy) path(suffix string) string {
	return w.fresh.fs.PathJoin(w.fresh.dir, swapName(w.fresh.base, w.end, suffix))
}

// append writes one batch.
func (w *segmentCopy) append(raw []byte) error {
	b, _, err := batch.Parse(raw)
	if err != nil {
		return err
	}
	position := int(w.written) + len(w.pending)
	w.fresh.index.add(w.fresh.base, b.LastOffset(), position, b.Size(), b.MaxTimestamp(), w.every)
	w.pending = append(w.pending, raw...)
	if len(w.pending) < scanBytes {
		return nil
	}
	return w.flush()
}

func (w *segmentCopy) flush() error {
	n := len(w.pending)
	if n == 0 {
		return nil
	}
	if _, err := w.file.Write(w.pending); err != nil {
		return fmt.Errorf("segment %s: write: %w", w.path(cleanedSuffix), err)
	}
	w.written += int64(n)
	w.pending = w.pending[:0]
	return nil
}

// gone notes a batch that is not in the copy.
func (w *segmentCopy) gone(b batch.Batch) {
	if b.IsControl() {
		w.dropped[b.BaseOffset()] = true
	}
}

// discard closes and removes the copy.
func (w *segmentCopy) discard() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
	}
	return errors.Join(err, w.fresh.close(), w.fresh.fs.Remove(w.path(cleanedSuffix)))
}

// replace puts the copy into the place of the old segments.
func (w *segmentCopy) replace() error {
	for _, s := range w.old {
		for _, a := range s.aborted { // sealed: nobody changes it
			if !w.dropped[a.last] {
				w.fresh.aborted = append(w.fresh.aborted, a)
			}
		}
	}
	if err := w.prepare(); err != nil {
		return errors.Join(err, w.discard())
	}
	l, fs := w.log, w.fresh.fs
	if err := fs.Rename(w.path(cleanedSuffix), w.path(swapSuffix)); err != nil {
		return errors.Join(fmt.Errorf("segment %s: rename: %w", w.path(cleanedSuffix), err), w.discard())
	}
	// What fails from here on leaves the directory in a state that only Open sorts out.
	err := w.install()
	w.fresh.file.unpin()
	if err != nil {
		l.fail(err)
		if !slices.Contains(*l.segments.Load(), w.fresh) { // else it is closed with the log
			err = errors.Join(err, w.fresh.close())
		}
		return err
	}
	return w.fresh.writeIndex(l.syncs())
}

// prepare is step 1, and opens the copy for reading.
func (w *segmentCopy) prepare() error {
	fsync := w.log.syncs()
	err := w.flush()
	if err == nil && fsync {
		err = w.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("segment %s: %w", w.path(cleanedSuffix), err)
	}
	if err := writeFile(w.fresh.fs, w.path(swapTxnSuffix), encodeAborted(w.fresh.aborted), fsync); err != nil {
		return err
	}
	if err := writeFile(w.fresh.fs, w.fresh.path(agesSuffix), w.fresh.ages.encode(), fsync); err != nil {
		return err
	}
	if fsync { // the copy must not get its final name before the others have theirs
		if err := syncDir(w.fresh.fs, w.fresh.dir); err != nil {
			return err
		}
	}
	file, err := w.fresh.fs.OpenReadWrite(w.path(cleanedSuffix), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("segment %s: open: %w", w.path(cleanedSuffix), err)
	}
	// Under its final name, which it gets before it is unpinned.
	w.fresh.file = w.fresh.file.files.adopt(w.fresh.fs, w.fresh.file.name, file)
	w.fresh.file.size = w.fresh.size.Load
	err = w.file.Close()
	w.file = nil
	w.fresh.size.Store(w.written)
	w.fresh.next.Store(w.end)
	return err
}

// install is the end of step 2, the change of the list that readers use, and step 3.
func (w *segmentCopy) install() error {
	l := w.log
	if l.syncs() {
		if err := syncDir(l.options.FS, l.options.Dir); err != nil {
			return err
		}
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return l.check("compact")
	}
	// The tail first: see Log.Read.
	l.tail.forget(w.end)
	segments := *l.segments.Load()
	at := slices.Index(segments, w.old[0])
	segments = slices.Concat(segments[:at], []*segment{w.fresh}, segments[at+len(w.old):])
	l.segments.Store(&segments)
	l.mu.Unlock()
	// Readers that are on their way to an old one find it closed, and look again.
	for _, s := range w.old {
		if err := s.close(); err != nil {
			return err
		}
	}
	return finishSwap(l.options.FS, l.options.Dir, w.fresh.base, w.end, l.syncs())
}

// finishSwap is step 3. It may be done again after a crash in its middle.
func finishSwap(fs vfs.FS, dir string, first, end int64, fsync bool) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("directory %s: list: %w", dir, err)
	}
	for _, name := range names {
		if base, ok := parseFileName(name, logSuffix); ok && base > first && base < end {
			if err := (&segment{fs: fs, dir: dir, base: base}).remove(); err != nil {
				return fmt.Errorf("segment %s: remove: %w", name, err)
			}
		}
	}
	target := &segment{fs: fs, dir: dir, base: first}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		if err := fs.Remove(target.path(suffix)); err != nil && !isNotExist(err) {
			return fmt.Errorf("segment %s: remove its index: %w", target.path(suffix), err)
		}
	}
	txns := fs.PathJoin(dir, swapName(first, end, swapTxnSuffix))
	if err := fs.Rename(txns, target.path(txnIndexSuffix)); err != nil && !isNotExist(err) {
		return fmt.Errorf("file %s: rename: %w", txns, err)
	}
	swap := fs.PathJoin(dir, swapName(first, end, swapSuffix))
	if err := fs.Rename(swap, target.path(logSuffix)); err != nil {
		return fmt.Errorf("segment %s: rename: %w", swap, err)
	}
	if !fsync {
		return nil
	}
	return syncDir(fs, dir)
}
