package log

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/batch"
)

// Finding is something about a file that a reader of a directory at rest should know.
type Finding struct {
	Path string
	// Damage is what a start does not repair: records are missing or can't be read. Other findings are what a crash
	// leaves, and a start clears up.
	Damage bool
	Text   string
}

// Verified is what Verify found.
type Verified struct {
	Start, End              int64
	Batches, Records, Bytes int64
	Findings                []Finding
}

func (v *Verified) find(path string, damage bool, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{path, damage, fmt.Sprintf(format, args...)})
}

// Verify reads a log that nobody has open, and changes nothing: all batches with their checksums, offsets and records,
// and the indexes of sealed segments and, after a clean close, of the last one. Where a compaction was cut short, it
// reads the files that the next start will keep. It calls visit for each batch that a reader may get. The error is that
// of a file that can't be read, or of visit.
func Verify(fs vfs.FS, dir string, visit func(batch.Batch) error) (*Verified, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("directory %s: list: %w", dir, err)
	}
	cp, err := readCheckpoint(fs, dir)
	if err != nil {
		return nil, err
	}
	w := verification{fs: fs, dir: dir, cp: cp, visit: visit, open: map[int64]int64{}}
	w.Start = cp.logStart
	parts := w.parts(names)
	for len(parts) > 1 && parts[1].base <= cp.logStart { // was being deleted
		parts = parts[1:]
	}
	if len(parts) > 0 && parts[0].base > cp.logStart {
		w.find(dir, true, "the first segment begins at offset %d; offsets from %d on are missing", parts[0].base,
			cp.logStart)
	}
	for i, p := range parts {
		w.began = parts[0].base
		w.Start, w.End = max(w.Start, w.began), max(w.End, p.base)
		// Those of the segment that is appended to are made again after a crash.
		p.indexed = p.indexed && (i < len(parts)-1 || p.base == cp.cleanSegment)
		whole, err := w.part(p)
		if err != nil {
			return nil, fmt.Errorf("directory %s: %w", dir, err)
		}
		if whole && i+1 < len(parts) && p.base >= cp.sparse {
			w.gap(p, parts[i+1].base)
		}
	}
	w.End = max(w.End, w.Start)
	if w.End < cp.synced {
		w.find(dir, true, "the log ends at offset %d, but was synced to the disk up to %d", w.End, cp.synced)
	}
	return &w.Verified, nil
}

// verification is one call of Verify.
type verification struct {
	Verified
	fs      vfs.FS
	dir     string
	cp      checkpoint
	visit   func(batch.Batch) error
	decoder batch.Decoder
	began   int64           // where the first file does
	open    map[int64]int64 // producer id to the first offset of its open transaction
}

// part is a file of batches as the next start finds it: a segment, or what a compaction was about to put into the place
// of several.
type part struct {
	base    int64
	path    string
	indexed bool // it has index files of its own
}

// parts returns the files of batches, in their order.
func (w *verification) parts(names []string) (parts []part) {
	for _, name := range names {
		if base, ok := parseFileName(name, logSuffix); ok {
			parts = append(parts, part{base, w.fs.PathJoin(w.dir, name), true})
		}
	}
	for _, name := range names {
		first, end, ok := parseSwapName(name, swapSuffix)
		if !ok {
			continue
		}
		p := part{first, w.fs.PathJoin(w.dir, name), false}
		w.find(p.path, false, "a compaction was cut short; the next start completes it: this file takes the place of the "+
			"segments from offset %d up to %d", first, end)
		parts = slices.DeleteFunc(parts, func(old part) bool { return first <= old.base && old.base < end })
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.base, b.base) })
	return parts
}

// part looks at one file of batches. whole is false where its batches end before it does.
func (w *verification) part(p part) (whole bool, err error) {
	s, path := &segment{fs: w.fs, dir: w.dir, base: p.base}, p.path
	file, err := w.fs.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	s.file = NewFiles(0).adopt(w.fs, path, file)
	s.size.Store(info.Size())
	var x indexes
	if p.indexed {
		x = w.indexes(s)
	}
	c := s.scan(0, info.Size())
	for {
		b, position, err := c.next()
		switch {
		case err == io.EOF:
			w.compare(s, x)
			return true, nil
		case err != nil && !torn(err):
			return false, err
		case err != nil:
			w.cut(path, position, info.Size(), err)
			return false, nil
		}
		w.order(path, position, b, p.base)
		x.batch(position, b)
		if abort, ok := w.transaction(b); ok {
			x.abort(abort, max(w.began, w.cp.sparse))
		}
		if err := w.batch(path, b); err != nil {
			return false, err
		}
	}
}

// cut notes that the batches of a segment end before its file does.
func (w *verification) cut(path string, position, size int64, cause error) {
	if w.End < w.cp.synced {
		w.find(path, true, "no batch at byte %d, at offset %d of %d that were synced to the disk: %v", position, w.End,
			w.cp.synced, cause)
		return
	}
	w.find(path, false, "%d bytes at the end are no batch, as a crash leaves them; the next start cuts them off",
		size-position)
}

// gap notes that the batches of a whole segment end before the next segment begins, in a part of the log that was never
// compacted.
func (w *verification) gap(p part, next int64) {
	if w.End == next {
		return
	}
	if w.End < w.cp.synced {
		w.find(p.path, true, "ends before offset %d, and the next segment begins at %d: the offsets between are missing",
			w.End, next)
		return
	}
	w.find(p.path, false, "ends before offset %d, and the next segment begins at %d, as a crash leaves them; the next "+
		"start deletes what follows", w.End, next)
}

// order checks a batch's offsets against those before it.
func (w *verification) order(path string, position int64, b batch.Batch, base int64) {
	switch first := b.BaseOffset(); {
	case first < w.End && w.Batches > 0:
		w.find(path, true, "offset %d at byte %d, after offset %d", first, position, w.End-1)
	case first > w.End && w.Batches > 0 && base >= w.cp.sparse:
		w.find(path, true, "offset %d at byte %d: offsets from %d on are missing", first, position, w.End)
	}
	w.End = max(w.End, b.LastOffset()+1)
}

func (w *verification) batch(path string, b batch.Batch) error {
	w.Batches, w.Records, w.Bytes = w.Batches+1, w.Records+int64(b.Count()), w.Bytes+int64(b.Size())
	if _, err := w.decoder.Inspect(b, nil); err != nil {
		if errors.Is(err, batch.ErrCorrupt) || errors.Is(err, batch.ErrTooLarge) {
			w.find(path, true, "batch at offset %d: %v", b.BaseOffset(), err)
			return nil
		}
		return err
	}
	if b.LastOffset() < w.Start || w.visit == nil {
		return nil
	}
	return w.visit(b)
}
