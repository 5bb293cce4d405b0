package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
	"thalweg/internal/defect"
)

const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	producersSuffix = ".producers"
	agesSuffix      = ".ages"
	tempSuffix      = ".tmp"
	besideSuffix    = ".beside.tmp"
	cleanedSuffix   = ".cleaned"

	maxSegmentBytes = 1<<31 - 1 // positions in the index are 32 bits
	maxIndexBytes   = scanBytes // a read takes up to that much more from the file than it was asked for
)

// segmentSuffixes are the files of one segment.
func segmentSuffixes() []string {
	return []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, agesSuffix}
}

// segment is one file of batches. The active one, the last of its log, is appended to under Log.mu; the others are
// sealed.
type segment struct {
	fs   vfs.FS
	dir  string
	base int64 // the name; no batch has a smaller offset
	file *sharedFile

	mu   sync.RWMutex // held for reading while file is in use, for writing to close it
	dead bool         // closed, by Log.Close or because the segment was deleted

	size    atomic.Int64 // bytes of whole batches
	next    atomic.Int64 // offset after the last batch
	sealed  atomic.Bool  // no longer the active one
	sparse  atomic.Bool  // compaction may have taken batches out
	ages    ages
	stream  vfs.File // the file, if its own position is size and Write is to be used in place of WriteAt
	scratch []byte   // what Write may spoil
	torn    bool     // a failed write may have left something behind size
	blank   bool     // what it left is zeros by now
	ahead   int64    // blocks are set aside for the bytes before it
	index   index

	txnMu   sync.RWMutex
	aborted []abortedTxn // by LastOffset
}

func fileName(offset int64, suffix string) string { return fmt.Sprintf("%020d%s", offset, suffix) }

// parseFileName is the inverse of fileName.
func parseFileName(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	return offset, err == nil && offset >= 0
}

func (s *segment) path(suffix string) string { return s.fs.PathJoin(s.dir, fileName(s.base, suffix)) }

// newSegment returns a segment whose file is opened when it is used first.
func newSegment(files *Files, fs vfs.FS, dir string, base int64) *segment {
	s := &segment{fs: fs, dir: dir, base: base}
	s.file = files.file(fs, s.path(logSuffix))
	s.file.size = s.size.Load
	return s
}

// createSegment makes an empty segment file. The directory is not synced.
func createSegment(files *Files, fs vfs.FS, dir string, base int64) (*segment, error) {
	s := newSegment(files, fs, dir, base)
	name := s.path(logSuffix)
	// What an interrupted roll may have left is empty or was never acknowledged.
	if err := fs.Remove(name); err != nil && !isNotExist(err) {
		return nil, fmt.Errorf("segment %s: create: %w", name, err)
	}
	file, err := s.file.pin()
	if err != nil {
		return nil, fmt.Errorf("segment %s: create: %w", name, err)
	}
	defer s.file.unpin()
	// Files in memory take ages for a WriteAt beyond their end.
	if file.Fd() == vfs.InvalidFd {
		s.stream = file
	}
	s.next.Store(base)
	s.index.reset()
	return s, nil
}

// openSegment finds a segment file, and tells when it was written. Its size is that of the file; the rest is for
// recovery to find out.
func openSegment(files *Files, fs vfs.FS, dir string, base int64) (s *segment, modified time.Time, err error) {
	s = newSegment(files, fs, dir, base)
	name := s.path(logSuffix)
	info, err := fs.Stat(name)
	if err != nil {
		return nil, modified, fmt.Errorf("segment %s: size: %w", name, err)
	}
	s.size.Store(info.Size())
	s.next.Store(base)
	s.index.maxTimestamp, s.index.maxTimestampOffset = -1, -1
	return s, info.ModTime(), nil
}

// write appends whole batches at the end of what is valid, over whatever a failed write may have left there. The caller
// publishes them by size and next. Above limit the segment is rolled.
func (s *segment) write(p []byte, limit, ahead int64) error {
	file, err := s.file.pin()
	if err != nil {
		return err
	}
	defer s.file.unpin()
	if err := s.blankTail(file); err != nil {
		return fmt.Errorf("segment %s: clear what a failed write left at %d: %w", s.path(logSuffix), s.size.Load(), err)
	}
	if s.stream == file {
		// A vfs.File's Write is allowed to change what it is given, and p is what readers will get.
		s.scratch = append(s.scratch[:0], p...)
		_, err = file.Write(s.scratch)
	} else {
		s.stream = nil // it was opened again
		s.reserve(file, int64(len(p)), limit)
		s.keepAhead(file, int64(len(p)), ahead)
		_, err = file.WriteAt(p, s.size.Load())
	}
	if err != nil {
		s.stream, s.torn, s.blank = nil, true, false
		if named, ok := errors.AsType[*fs.PathError](err); ok {
			err = named.Err // the path is said once
		}
		return fmt.Errorf("segment %s: write %d bytes at %d: %w", s.path(logSuffix), len(p), s.size.Load(), err)
	}
	return nil
}

// blankTail fills what a failed write left behind size with zeros, in place, for which even a full disk has room. There
// may be whole batches in it: a shorter batch in front of one must not make it the next.
func (s *segment) blankTail(file vfs.File) error {
	if !s.torn || s.blank {
		return nil
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, scanBytes)
	for at := s.size.Load(); at < info.Size(); at += int64(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), info.Size()-at)], at); err != nil {
			return err
		}
	}
	s.blank = true
	return nil
}

// cut makes the file end where its batches do. There is no truncation in vfs.FS; and a copy leaves nothing behind
// that a later recovery could take for batches. The caller syncs the directory.
func (s *segment) cut() error {
	name := s.path(logSuffix)
	file, err := s.file.pin()
	if err != nil {
		return err
	}
	fresh, err := copyPrefix(s.fs, file, name, s.size.Load())
	s.file.unpin()
	if err != nil {
		return fmt.Errorf("segment %s: cut at byte %d: %w", name, s.size.Load(), err)
	}
	return s.replaceFile(fresh)
}

// replaceFile puts an open file of the same name into the place of the segment's.
func (s *segment) replaceFile(fresh vfs.File) error {
	s.mu.Lock()
	old := s.file
	s.file = old.files.adopt(s.fs, old.name, fresh)
	s.file.size = s.size.Load
	s.torn, s.stream, s.ahead = false, nil, 0
	s.mu.Unlock()
	s.file.unpin()
	return old.close()
}

// copyPrefix puts the first size bytes of file into a new file of that name, and returns it, open for appending.
func copyPrefix(fs vfs.FS, file vfs.File, name string, size int64) (vfs.File, error) {
	temp := name + tempSuffix
	dst, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(dst, io.NewSectionReader(file, 0, size))
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		_ = fs.Remove(temp) // the disk may be full
		return nil, err
	}
	if err := fs.Rename(temp, name); err != nil {
		return nil, err
	}
	return fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
}

// acquire keeps the file open until release. It returns false when the segment is gone.
func (s *segment) acquire() bool {
	s.mu.RLock()
	if s.dead {
		s.mu.RUnlock()
		return false
	}
	return true
}

func (s *segment) release() { s.mu.RUnlock() }

// sync syncs the file's data. A segment that was deleted meanwhile needs none.
func (s *segment) sync() error {
	if !s.acquire() {
		return nil
	}
	defer s.release()
	if defect.SkippedSync {
		return nil
	}
	file, err := s.file.pin()
	if err != nil {
		return err
	}
	defer s.file.unpin()
	if err := file.SyncData(); err != nil {
		return fmt.Errorf("segment %s: sync: %w", s.path(logSuffix), err)
	}
	return nil
}

func (s *segment) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return nil
	}
	s.dead = true
	return s.file.close()
}

// remove deletes the files of a closed segment, its batches last.
func (s *segment) remove() error {
	suffixes := segmentSuffixes()
	var errs []error
	for i := len(suffixes) - 1; i >= 0; i-- {
		if err := s.fs.Remove(s.path(suffixes[i])); err != nil && !isNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// readAt fills p from position.
func (s *segment) readAt(p []byte, position int64) error {
	file, err := s.file.pin()
	if err != nil {
		return err
	}
	defer s.file.unpin()
	n, err := file.ReadAt(p, position)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// scanner walks the batches of a segment file by large reads. The segment is acquired by the caller.
type scanner struct {
	segment  *segment
	limit    int64 // bytes of the file to look at
	position int64 // of the next batch
	buf      []byte
	at       int64 // position of buf[0]
}

const scanBytes = 1 << 20

func (s *segment) scan(from, limit int64) *scanner {
	return &scanner{segment: s, position: from, limit: limit, at: from}
}

// seek makes the batch at position the next one.
func (c *scanner) seek(position int64) { c.position, c.at, c.buf = position, position, c.buf[:0] }

// next returns the next batch, which is a view valid until the following call, and its position. At the limit it
// returns io.EOF. Its checksum is verified.
func (c *scanner) next() (batch.Batch, int64, error) {
	position := c.position
	if position >= c.limit {
		return batch.Batch{}, position, io.EOF
	}
	want := batch.HeaderBytes
	for {
		if err := c.fill(want); err != nil {
			return batch.Batch{}, position, err
		}
		b, _, err := batch.Parse(c.buf[position-c.at:])
		if errors.Is(err, batch.ErrShort) {
			size, ok := batch.SizeOf(c.buf[position-c.at:])
			if ok && size > want && position+int64(size) <= c.limit {
				want = size
				continue
			}
			return batch.Batch{}, position, err
		}
		if err == nil {
			err = b.Verify()
		}
		if err != nil {
			return batch.Batch{}, position, err
		}
		c.position += int64(b.Size())
		return b, position, nil
	}
}

// fill makes buf hold at least want bytes from position, or all up to the limit.
func (c *scanner) fill(want int) error {
	have := int64(len(c.buf)) - (c.position - c.at)
	left := c.limit - c.position
	if have >= min(int64(want), left) {
		return nil
	}
	n := min(left, int64(max(want, scanBytes)))
	if int64(cap(c.buf)) < n {
		c.buf = make([]byte, n)
	}
	c.buf, c.at = c.buf[:n], c.position
	if err := c.segment.readAt(c.buf, c.position); err != nil {
		c.buf = c.buf[:0]
		return fmt.Errorf("segment %s: read %d bytes at %d: %w", c.segment.path(logSuffix), n, c.position, err)
	}
	return nil
}

// loadIndex makes the index usable; it reads or rebuilds that of a sealed segment. The segment is acquired.
func (s *segment) loadIndex(every int) error {
	s.index.mu.RLock()
	ready := s.index.loaded && s.index.used
	s.index.mu.RUnlock()
	if ready {
		return nil
	}
	s.index.mu.Lock()
	s.index.used = true
	loaded := s.index.loaded
	s.index.mu.Unlock()
	if loaded {
		return nil
	}
	o, t, ok := s.readIndex()
	if !ok {
		return s.rebuildIndex(every)
	}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	s.index.offsets, s.index.times, s.index.loaded = o, t, true
	if n := len(t); n > 0 {
		s.index.maxTimestamp, s.index.maxTimestampOffset = t[n-1].timestamp, s.base+int64(t[n-1].offset)
	}
	return nil
}

// readIndex reads the files of the index. It returns false when they are missing, or can't be the index: of a sealed
// segment it is known where it ends.
func (s *segment) readIndex() (o []offsetEntry, t []timeEntry, ok bool) {
	offsets, err := readFile(s.fs, s.path(indexSuffix))
	if err != nil {
		return nil, nil, false
	}
	times, err := readFile(s.fs, s.path(timeIndexSuffix))
	if err != nil {
		return nil, nil, false
	}
	o, t, ok = decodeIndex(offsets, times, s.size.Load())
	if !ok || s.size.Load() > 0 && len(t) == 0 {
		return nil, nil, false
	}
	if end := s.next.Load() - s.base; s.sealed.Load() && len(t) > 0 && int64(t[len(t)-1].offset) >= end ||
		s.sealed.Load() && len(o) > 0 && int64(o[len(o)-1].offset) >= end {
		return nil, nil, false
	}
	return o, t, true
}

// rebuildIndex makes the index of a sealed segment from its batches, and writes it.
func (s *segment) rebuildIndex(every int) error {
	var fresh index
	fresh.reset()
	c := s.scan(0, s.size.Load())
	o := order{dense: !s.sparse.Load(), next: s.base, limit: s.next.Load(), last: -1}
	for {
		b, position, err := c.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = o.check(b)
		}
		if outOfDescriptors(err) {
			return err
		}
		if err != nil {
			return fmt.Errorf("segment %s: rebuild the index: at byte %d: %w: %w",
				s.path(logSuffix), position, kerr.CorruptMessage, err)
		}
		fresh.add(s.base, b.LastOffset(), int(position), b.Size(), b.MaxTimestamp(), every)
	}
	s.index.mu.Lock()
	s.index.offsets, s.index.times, s.index.loaded, s.index.used = fresh.offsets, fresh.times, true, true
	s.index.maxTimestamp, s.index.maxTimestampOffset = fresh.maxTimestamp, fresh.maxTimestampOffset
	s.index.mu.Unlock()
	// The index can be made again at any time: not being able to keep it is no failure.
	_ = s.writeIndex(false)
	return nil
}

// writeIndex writes the files of the index of offsets and times.
func (s *segment) writeIndex(fsync bool) error {
	return replaceAll(s.fs, s.indexFiles()[:2], fsync, nil)
}

// indexFiles are the files that hold the index of offsets and times, and then the index of aborted transactions.
func (s *segment) indexFiles() []replacement {
	offsets, times := s.index.encode(s.base)
	s.txnMu.RLock()
	defer s.txnMu.RUnlock()
	return []replacement{
		{name: s.path(indexSuffix), content: offsets},
		{name: s.path(timeIndexSuffix), content: times},
		{name: s.path(txnIndexSuffix), content: encodeAborted(s.aborted)},
	}
}

// idle drops the index of a sealed segment that nobody asked for since the last call.
func (s *segment) idle() {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if s.index.loaded && !s.index.used {
		s.index.loaded, s.index.offsets, s.index.times = false, nil, nil
	}
	s.index.used = false
}
