package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/clock"
)

const (
	reserveFile = "RESERVE"
	// reserveBytes is the size of the reserve file. What is in progress when the disk becomes full adds a few kilobytes to
	// the manifest; a new manifest has about 150 bytes for each table.
	reserveBytes = 1 << 20
	// spaceRetryEvery is the time between two tries to write on a full disk.
	spaceRetryEvery = 100 * time.Millisecond
	// spaceLogMost is the longest time between two log lines while the disk stays full.
	spaceLogMost = time.Minute
	// spaceCalm is how long writes must succeed before the disk counts as no longer full in the log. The reserve file
	// fits into the space that its own deletion left, so the writes after it may find the disk full again.
	spaceCalm = 5 * time.Second
	// deletionTries is how many tries an engine without a reserve makes, over five seconds: Pebble deletes the files that
	// it no longer needs behind its callers, and their space may be what the next write needs.
	deletionTries = 50
)

// spaceFS keeps a full disk from Pebble: a write waits until there is space, because an error on the manifest would be
// the database's end, and one on a table would be tried again at once, without end. Reads do not wait.
//
// A reserve file is deleted when the disk becomes full. What it leaves is for small files alone, above all for the
// manifest and its marker: the writes of tables wait until the reserve file can be made again.
//
// Other errors on small files are fatal to Pebble, which would panic in a goroutine of its own. They are the engine's
// failure here, and the goroutine is parked: after a failure nothing more is written.
type spaceFS struct {
	vfs.FS
	*diskSpace
	parks bool // goroutines that must not write any more; else they get the failure
}

// diskSpace is what a spaceFS knows of the disk.
type diskSpace struct {
	inner   vfs.FS
	engine  *Engine
	reserve string // path
	log     *slog.Logger
	clock   clock.Clock
	opening atomic.Bool // nothing waits, errors are returned
	hurry   atomic.Bool // see Engine.StopWaiting
	tries   int         // of a write that finds the disk full, before hurry ends the engine
	waiting atomic.Int64
	writes  sync.RWMutex // shared by what is being written: see unlock

	mu       sync.Mutex
	ran      chan struct{} // closed while the disk is full
	full     chan struct{} // closed when there is space again; nil: there is
	since    time.Time     // of full
	was      time.Duration // that the disk was full before
	began    time.Time     // of the shortage that the log reports; zero: there is none
	logged   time.Time     // its newest line
	next     time.Duration // from that line to the next, at least
	calm     func() bool   // stops the timer that ends the shortage; nil: it does not run
	stopped  chan struct{} // closed by stop
	watching sync.WaitGroup
	lock     io.Closer // of the directory; nil: not taken yet
}

func newSpaceFS(inner vfs.FS, e *Engine, log *slog.Logger) *spaceFS {
	s := &diskSpace{
		inner: inner, engine: e, reserve: inner.PathJoin(e.dir, reserveFile), log: log, clock: clock.System{},
		ran: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.opening.Store(true)
	return &spaceFS{FS: inner, diskSpace: s, parks: true}
}

// forCallers is the file system for what the engine's callers write.
func (s *spaceFS) forCallers() *spaceFS { return &spaceFS{FS: s.FS, diskSpace: s.diskSpace} }

// IsFull tells whether an error says that the disk, or the user's share of it, is full.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// keepReserve makes the reserve file unless it is there.
func (s *diskSpace) keepReserve() error {
	if info, err := s.inner.Stat(s.reserve); err == nil && info.Size() == reserveBytes {
		return nil
	}
	if err := s.makeReserve(); err != nil {
		return fmt.Errorf("make %s, which keeps %d KiB free for the time when the disk is full: %w", reserveFile,
			reserveBytes>>10, err)
	}
	return nil
}

// makeReserve fills the file with what no file system can compress.
func (s *diskSpace) makeReserve() error {
	f, err := s.inner.Create(s.reserve, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{})
	var chunk [64 << 10]byte
	for left := reserveBytes; left > 0 && err == nil; left -= len(chunk) {
		_, _ = random.Read(chunk[:]) // never fails
		_, err = f.Write(chunk[:])
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = s.inner.Remove(s.reserve)
	}
	return err
}

// attempt makes a write until it is not the disk's space that it fails for. An urgent one does not wait for others.
func (s *spaceFS) attempt(urgent bool, write func() error) error {
	for tries := 0; ; tries++ {
		if err := s.await(urgent); err != nil {
			return err
		}
		s.writes.RLock()
		if s.engine.isDead() {
			s.writes.RUnlock()
			return s.refuse()
		}
		err := write()
		s.writes.RUnlock()
		if !IsFull(err) {
			return err
		}
		if s.opening.Load() {
			if urgent && tries == 0 && s.FS.Remove(s.reserve) == nil {
				continue
			}
			return err
		}
		if tries < s.tries {
			s.pause()
			continue
		}
		s.ranOut(err)
		if urgent && tries > 0 { // the first time it takes what the reserve has left
			s.pause()
		}
	}
}

// Lock takes the lock of the directory.
func (s *spaceFS) Lock(name string) (io.Closer, error) {
	held, err := s.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lock = &closedOnce{Closer: held}
	return s.lock, nil
}

// unlock gives the lock back that a failed Open of Pebble has left. What is being written ends before, and what is left
// of that Pebble writes nothing any more: the engine is dead.
func (s *diskSpace) unlock() error {
	s.writes.Lock()
	defer s.writes.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

type closedOnce struct {
	io.Closer
	once sync.Once
}

func (c *closedOnce) Close() (err error) {
	c.once.Do(func() { err = c.Closer.Close() })
	return err
}

// fatal makes the error of a write to a small file the engine's failure.
func (s *spaceFS) fatal(urgent bool, err error) error {
	if err == nil || !urgent || s.opening.Load() || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return err
	}
	s.engine.giveUp(err)
	return s.refuse()
}

// refuse ends what a goroutine writes after a failure. A goroutine of Pebble's own must do nothing more.
func (s *spaceFS) refuse() error {
	if s.parks {
		select {}
	}
	return s.engine.Failed()
}

// await returns when a write may be tried: an ordinary one when the disk is not full.
func (s *spaceFS) await(urgent bool) error {
	for {
		if s.engine.isDead() {
			return s.refuse()
		}
		s.mu.Lock()
		full := s.full
		s.mu.Unlock()
		if full == nil || urgent {
			return nil
		}
		s.waiting.Add(1)
		select {
		case <-full:
		case <-s.engine.dead:
		}
		s.waiting.Add(-1)
	}
}

// pause is the time between two tries of an urgent write.
func (s *diskSpace) pause() {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	over, stop := s.timer()
	defer stop()
	select {
	case <-over:
	case <-s.engine.dead:
	}
}

// timer is closed when the disk is worth another try.
func (s *diskSpace) timer() (over <-chan struct{}, stop func() bool) {
	c := make(chan struct{})
	return c, s.clock.AfterFunc(spaceRetryEvery, func() { close(c) })
}

// ranOut notes that the disk is full.
func (s *diskSpace) ranOut(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.stopped) {
		return
	}
	if s.full == nil {
		s.full, s.since = make(chan struct{}), s.clock.Now()
		if s.calm != nil {
			s.calm()
			s.calm = nil
		}
		if s.began.IsZero() {
			s.began, s.next = s.since, time.Second
		}
		close(s.ran)
		_ = s.inner.Remove(s.reserve)
		s.watching.Go(func() { s.watch(err) })
	}
	if s.hurry.Load() {
		s.engine.giveUp(err)
	}
}

// watch ends the waiting when the reserve can be made again.
func (s *diskSpace) watch(cause error) {
	for {
		s.mu.Lock()
		if now := s.clock.Now(); now.Sub(s.logged) >= min(s.next, spaceLogMost) {
			s.log.Warn("state engine: the disk is full: writes wait until there is space", "directory", s.engine.dir,
				"waiting", s.waiting.Load(), "for", now.Sub(s.began).Round(time.Second), "err", cause)
			s.logged = now
			s.next = max(s.next, 2*now.Sub(s.began))
		}
		s.mu.Unlock()
		over, stop := s.timer()
		select {
		case <-over:
		case <-s.stopped:
			stop()
			return
		case <-s.engine.dead:
			stop()
			return
		}
		if s.makeReserve() == nil {
			s.recovered()
			return
		}
	}
}

// recovered lets the writes continue.
func (s *diskSpace) recovered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.was += s.clock.Now().Sub(s.since)
	close(s.full)
	s.full, s.ran = nil, make(chan struct{})
	took := s.clock.Now().Sub(s.began)
	s.calm = s.clock.AfterFunc(spaceCalm, func() { s.over(took) })
}

// over ends a shortage of space, after which writes have succeeded for some time.
func (s *diskSpace) over(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil || s.began.IsZero() || isClosed(s.stopped) || s.clock.Now().Sub(s.began) < took+spaceCalm {
		return // it became full again before this came to run
	}
	s.log.Info("state engine: the disk has space again", "directory", s.engine.dir, "after", took.Round(time.Millisecond))
	s.logged = s.clock.Now()
	s.began, s.calm = time.Time{}, nil
}

// whenFull is closed when the disk becomes full.
func (s *diskSpace) whenFull() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ran
}

// fullFor is how long the disk has been full in all.
func (s *diskSpace) fullFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full == nil {
		return s.was
	}
	return s.was + s.clock.Now().Sub(s.since)
}

// stop ends the watching: nothing more is written.
func (s *diskSpace) stop() {
	s.mu.Lock()
	close(s.stopped)
	if s.calm != nil {
		s.calm()
	}
	s.mu.Unlock()
	s.watching.Wait()
}

// StopWaiting ends the waiting for space on a full disk, now and later: it is a failure instead. It is for the end of a
// process that can't wait any longer. Nothing is lost that the changelogs do not have.
func (e *Engine) StopWaiting() {
	e.space.hurry.Store(true)
	if isClosed(e.space.whenFull()) {
		e.giveUp(syscall.ENOSPC)
	}
}

// Abandoned tells that Pebble was given up. Its files stay open until the process ends, and the directory can't be
// opened again before.
func (e *Engine) Abandoned() bool { return e.isDead() }
