package log

import (
	"container/list"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Files limits how many files the logs of a broker hold open. A file that is used is open; one that is not stays open
// for as long as there are descriptors to spare, and is opened again when it is needed. A file with unsynced writes is
// in use until it is synced: only descriptors that were open at the time report that a write has failed.
//
// An append to another log waits while half as many logs as the limit have such files. So the limit holds but for what
// is in use at the same moment: by reads, by appends that begin together, and by logs that have been rolled since their
// last sync.
type Files struct {
	max int // 0: no limit

	mu      sync.Mutex
	open    int
	idle    list.List    // of *sharedFile: open and unused, the one used longest ago first
	written map[*Log]int // with unsynced writes, and in how many files
	synced  sync.Cond    // written shrank

	buffers sync.Pool // of *[]byte, for the scans of recovery
}

// NewFiles returns a limit for the logs that share it; 0 means none.
func NewFiles(limit int) *Files {
	f := &Files{max: limit, written: make(map[*Log]int)}
	f.synced.L = &f.mu
	return f
}

// Open returns how many files are open.
func (f *Files) Open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// borrow returns an empty buffer, which may have room.
func (f *Files) borrow() []byte {
	if buf, ok := f.buffers.Get().(*[]byte); ok {
		return (*buf)[:0]
	}
	return nil
}

// giveBack takes a buffer that nobody looks at any more.
func (f *Files) giveBack(buf []byte) {
	if cap(buf) > 0 && cap(buf) <= scanBytes {
		f.buffers.Put(&buf)
	}
}

// sharedFile is a file of a log. Its methods may be called by any number of goroutines.
type sharedFile struct {
	files *Files
	fs    vfs.FS
	name  string
	size  func() int64 // which the file has at least when it is opened again; nil: any

	opening sync.Mutex // one open at a time

	// guarded by files.mu
	opened vfs.File // nil while it is closed
	pins   int
	at     *list.Element // in files.idle
	closed bool          // for good
}

// file returns a file that is opened when it is used first. It is made if it is missing.
func (f *Files) file(fs vfs.FS, name string) *sharedFile {
	return &sharedFile{files: f, fs: fs, name: name}
}

// adopt returns a file that is open, and pinned, under the name that it has or is about to get.
func (f *Files) adopt(fs vfs.FS, name string, opened vfs.File) *sharedFile {
	s := f.file(fs, name)
	s.opened, s.pins = opened, 1
	f.reserve()
	return s
}

// pin returns the file, open until unpin.
func (s *sharedFile) pin() (vfs.File, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	f := s.files
	f.mu.Lock()
	if s.opened != nil {
		s.use()
		f.mu.Unlock()
		return s.opened, nil
	}
	f.mu.Unlock()
	f.reserve()
	opened, err := s.reopen()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && s.closed {
		err = errors.Join(errSegmentGone, opened.Close())
	}
	if err != nil {
		f.open--
		return nil, fmt.Errorf("file %s: open: %w", s.name, err)
	}
	s.opened = opened
	s.use()
	return opened, nil
}

// use adds a pin to a file that is open. files.mu is held.
func (s *sharedFile) use() {
	if s.pins++; s.at != nil {
		s.files.idle.Remove(s.at)
		s.at = nil
	}
}

// reopen opens the file. Descriptors may be short outside of the logs, too: then unused ones are given up.
func (s *sharedFile) reopen() (vfs.File, error) {
	for {
		opened, err := s.fs.OpenReadWrite(s.name, vfs.WriteCategoryUnspecified)
		if outOfDescriptors(err) && s.files.evict() {
			continue
		}
		if err != nil || s.size == nil {
			return opened, err
		}
		info, err := opened.Stat()
		if err == nil && info.Size() < s.size() {
			err = fmt.Errorf("%d bytes long, not %d: something else has changed or removed it", info.Size(), s.size())
		}
		if err != nil {
			return nil, errors.Join(err, opened.Close())
		}
		return opened, nil
	}
}

// outOfDescriptors tells whether an error is one of the process or the system, not of the file that was to be opened.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// unpin ends a use.
func (s *sharedFile) unpin() {
	f := s.files
	f.mu.Lock()
	if s.pins--; s.pins == 0 && s.opened != nil {
		s.at = f.idle.PushBack(s)
	}
	over := f.over()
	f.mu.Unlock()
	if over {
		f.evict()
	}
}

// close closes the file for good. Nobody uses it but for its unsynced writes.
func (s *sharedFile) close() error {
	f := s.files
	f.mu.Lock()
	opened := s.opened
	s.opened, s.closed = nil, true
	if s.at != nil {
		f.idle.Remove(s.at)
		s.at = nil
	}
	if opened != nil {
		f.open--
	}
	f.mu.Unlock()
	if opened == nil {
		return nil
	}
	return opened.Close()
}

// reserve counts a file that is about to be open, and closes unused ones beyond the limit.
func (f *Files) reserve() {
	f.mu.Lock()
	f.open++
	over := f.over()
	f.mu.Unlock()
	if over {
		f.evict()
	}
}

// over tells whether too many files are open. mu is held.
func (f *Files) over() bool { return f.max > 0 && f.open > f.max }

// evict closes the file that has been unused longest, and more while too many are open. It returns false if none is
// unused.
func (f *Files) evict() (evicted bool) {
	for {
		f.mu.Lock()
		oldest := f.idle.Front()
		if oldest == nil || evicted && !f.over() {
			f.mu.Unlock()
			return evicted
		}
		s := f.idle.Remove(oldest).(*sharedFile)
		opened := s.opened
		s.opened, s.at = nil, nil
		f.open--
		f.mu.Unlock()
		_ = opened.Close() // nothing of it is unsynced
		evicted = true
	}
}

// unsyncedFile is a segment with unsynced writes, and the file that they went to.
type unsyncedFile struct {
	segment *segment
	file    *sharedFile
}

// admit waits until l may have a file with unsynced writes. No lock of a log is held.
func (f *Files) admit(l *Log) {
	if f.max == 0 || !l.syncs() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.written[l] == 0 && len(f.written) >= max(1, f.max/2) {
		l.options.Syncer.hurry(slices.Collect(maps.Keys(f.written)))
		f.synced.Wait()
	}
}

// soil notes that l has one more file with unsynced writes, which stays pinned.
func (f *Files) soil(l *Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written[l]++
}

// clean notes that files of l are synced, or lost, and unpins them.
func (f *Files) clean(l *Log, files []unsyncedFile) {
	for _, u := range files {
		u.file.unpin()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.written[l] -= len(files); f.written[l] <= 0 {
		delete(f.written, l)
		f.synced.Broadcast()
	}
}
