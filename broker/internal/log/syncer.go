package log

import (
	"fmt"
	"sync"
	"time"

	"thalweg/internal/defect"
)

// Sync says when written batches count as durable.
type Sync int8

const (
	// SyncGroup syncs in the background, as soon as the disk is free; one fsync serves all appends before it.
	SyncGroup Sync = iota
	// SyncOS syncs in the background once per interval and waits for nothing.
	SyncOS
	// SyncAlways syncs within every append.
	SyncAlways
	// SyncNever syncs nothing at all.
	SyncNever
)

// String returns the name that flags use.
func (s Sync) String() string {
	switch s {
	case SyncGroup:
		return "group"
	case SyncOS:
		return "os"
	case SyncAlways:
		return "always"
	case SyncNever:
		return "never"
	}
	return fmt.Sprintf("sync(%d)", int8(s))
}

// awaited tells whether an append is durable only after an fsync.
func (s Sync) awaited() bool { return s == SyncGroup || s == SyncAlways }

// SyncerOptions sets a Syncer up. The zero value is group commit.
type SyncerOptions struct {
	Mode     Sync
	Interval time.Duration // of SyncOS; default 1 s
	Parallel int           // syncs at the same time; default 16
	// WholeFS syncs everything on the file system of the logs. It serves more than Parallel logs that are dirty at the
	// same time. nil: each log is synced by itself.
	WholeFS func() error
	// AfterFunc is the clock's; nil means time.AfterFunc.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// Syncer syncs dirty logs to the disk, several at once but each by one goroutine at a time. Its goroutines live only
// while there is something to sync. However many logs a request has written to, it waits for one fsync, not for
// several in series: up to Parallel logs are synced at the same time, and more of them by one call for all.
type Syncer struct {
	options SyncerOptions
	fsyncs  fsyncs

	mu      sync.Mutex
	idle    sync.Cond // a worker has ended
	queue   []*Log
	workers int
	whole   bool        // a worker syncs the whole file system
	timer   func() bool // stops the wait of SyncOS; nil when none is running
	closed  bool
}

// syncState is what the Syncer knows of a log, guarded by Syncer.mu.
type syncState int8

const (
	syncIdle   syncState = iota
	syncQueued           // in the queue
	syncBusy             // a worker syncs it
	syncAgain            // a worker syncs it, and it became dirty meanwhile
)

// NewSyncer returns a syncer for the logs of one broker.
func NewSyncer(o SyncerOptions) *Syncer {
	setDefault(&o.Interval, time.Second)
	setDefault(&o.Parallel, 16)
	if o.AfterFunc == nil {
		o.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	s := &Syncer{options: o}
	s.idle.L = &s.mu
	return s
}

// Mode returns what the syncer was made with.
func (s *Syncer) Mode() Sync { return s.options.Mode }

// ScheduleSync does what the mode asks for after appends to logs. A log that cannot be synced fails:
// WaitDurable and further appends say so.
func (s *Syncer) ScheduleSync(logs ...*Log) {
	switch s.options.Mode {
	case SyncGroup:
		if defect.EarlyHighWatermark { // readers see what the disk does not have yet
			for _, l := range logs {
				l.advance(-1)
			}
		}
		s.dirty(logs)
	case SyncAlways:
		for _, l := range logs {
			_ = l.fsync() // the log keeps it
		}
	case SyncOS:
		for _, l := range logs {
			l.advance(-1)
		}
		s.dirty(logs)
	case SyncNever:
		for _, l := range logs {
			l.advance(-1)
		}
	}
}

// dirty asks for fsyncs of logs.
func (s *Syncer) dirty(logs []*Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.enqueue(logs) || s.closed {
		return
	}
	if s.options.Mode != SyncOS {
		s.start()
	} else {
		s.wind()
	}
}

// enqueue adds logs to the queue. It returns false where all are being synced, and will be again. s.mu is held.
func (s *Syncer) enqueue(logs []*Log) (queued bool) {
	for _, l := range logs {
		switch l.syncState {
		case syncIdle:
			l.syncState = syncQueued
			s.queue = append(s.queue, l)
		case syncBusy:
			l.syncState = syncAgain
		}
		queued = queued || l.syncState == syncQueued
	}
	return queued
}

// hurry has logs synced now, in any mode.
func (s *Syncer) hurry(logs []*Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueue(logs)
	s.start()
}

// wind starts the wait of SyncOS. s.mu is held.
func (s *Syncer) wind() {
	if s.timer == nil && !s.closed {
		s.timer = s.options.AfterFunc(s.options.Interval, s.tick)
	}
}

func (s *Syncer) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if !s.closed {
		s.start()
	}
}

// start adds a worker for each queued log, up to the limit, or one for all of them. One that finds the queue empty
// ends. s.mu is held.
func (s *Syncer) start() {
	n := len(s.queue)
	if s.tooMany() {
		n = 1
	}
	for n = min(n, s.options.Parallel-s.workers); n > 0; n-- {
		s.workers++
		go s.work()
	}
}

// tooMany tells whether the queue is to be synced as a whole. s.mu is held.
func (s *Syncer) tooMany() bool { return s.options.WholeFS != nil && len(s.queue) > s.options.Parallel }

// take removes from the queue what a worker syncs next: one log, all of them, or none where the worker that syncs the
// whole file system will take them when it is done. s.mu is held.
func (s *Syncer) take() (logs []*Log) {
	switch {
	case !s.tooMany():
		n := min(1, len(s.queue))
		logs, s.queue = s.queue[:n:n], s.queue[n:]
	case !s.whole:
		s.whole = true
		logs, s.queue = s.queue, nil
	}
	for _, l := range logs {
		l.syncState = syncBusy
	}
	return logs
}

func (s *Syncer) work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for logs := s.take(); len(logs) > 0; logs = s.take() {
		s.mu.Unlock()
		if len(logs) == 1 {
			_ = logs[0].fsync() // the log keeps it
		} else {
			s.fsyncWhole(logs)
		}
		s.mu.Lock()
		again := s.requeue(logs)
		if len(logs) > 1 {
			s.whole = false
		}
		if again && s.options.Mode == SyncOS {
			s.wind()
			break
		}
		if len(logs) > 1 { // several may be dirty again, and they are synced side by side
			s.start()
		}
	}
	s.workers--
	s.idle.Broadcast()
}

// requeue puts logs that became dirty while they were synced into the queue again. s.mu is held.
func (s *Syncer) requeue(logs []*Log) (again bool) {
	for _, l := range logs {
		if l.syncState == syncAgain {
			l.syncState = syncQueued
			s.queue = append(s.queue, l)
			again = true
		} else {
			l.syncState = syncIdle
		}
	}
	return again
}

// fsyncWhole syncs logs, none of them twice, by one call for the whole file system. Where that fails, each log's own
// files tell whether they are concerned. One goroutine at a time calls it: it holds the locks of many logs.
func (s *Syncer) fsyncWhole(logs []*Log) {
	under := make([]*fsyncInProgress, 0, len(logs))
	for _, l := range logs {
		if f, _ := l.beginFsync(); f != nil { // a failed log keeps its failure
			under = append(under, f)
		}
	}
	if len(under) == 0 {
		return
	}
	failed := under[0].l.timed(s.options.WholeFS)
	for _, f := range under {
		var err error
		if failed != nil {
			err = f.sync()
		}
		_ = f.finish(err) // the log keeps it
	}
}

// Close syncs what is dirty and returns when no fsync is in progress. Logs are closed before it.
func (s *Syncer) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer()
		s.timer = nil
	}
	s.start()
	for s.workers > 0 {
		s.idle.Wait()
	}
}
