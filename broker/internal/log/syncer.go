package log

import (
	"fmt"
	"sync"
	"time"
)

// Sync says when written batches count as durable.
type Sync int8

const (
	// SyncGroup forces in the background, as soon as the disk is free; one force serves all appends before it.
	SyncGroup Sync = iota
	// SyncOS forces in the background once per interval and waits for nothing.
	SyncOS
	// SyncAlways forces within every append.
	SyncAlways
	// SyncNever forces nothing at all.
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

// awaited tells whether an append is durable only after a force.
func (s Sync) awaited() bool { return s == SyncGroup || s == SyncAlways }

// SyncerOptions sets a Syncer up. The zero value is group commit.
type SyncerOptions struct {
	Mode     Sync
	Interval time.Duration // of SyncOS; default 1 s
	Parallel int           // forces at the same time; default 8
	// AfterFunc is the clock's; nil means time.AfterFunc.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// Syncer forces dirty logs to the disk, several at once but each by one goroutine at a time. Its goroutines live only
// while there is something to force.
type Syncer struct {
	options SyncerOptions

	mu      sync.Mutex
	idle    sync.Cond // workers is 0 and the queue is empty
	queue   []*Log
	workers int
	timer   func() bool // stops the wait of SyncOS; nil when none is running
	closed  bool
}

// syncState is what the Syncer knows of a log, guarded by Syncer.mu.
type syncState int8

const (
	syncIdle   syncState = iota
	syncQueued           // in the queue
	syncBusy             // a worker forces it
	syncAgain            // a worker forces it, and it became dirty meanwhile
)

// NewSyncer returns a syncer for the logs of one broker.
func NewSyncer(o SyncerOptions) *Syncer {
	setDefault(&o.Interval, time.Second)
	setDefault(&o.Parallel, 8)
	if o.AfterFunc == nil {
		o.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	s := &Syncer{options: o}
	s.idle.L = &s.mu
	return s
}

// Mode returns what the syncer was made with.
func (s *Syncer) Mode() Sync { return s.options.Mode }

// dirty asks for a force of l.
func (s *Syncer) dirty(l *Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch l.syncState {
	case syncIdle:
		l.syncState = syncQueued
		s.queue = append(s.queue, l)
	case syncBusy:
		l.syncState = syncAgain
	}
	if s.closed || l.syncState != syncQueued {
		return
	}
	if s.options.Mode != SyncOS {
		s.start()
	} else if s.timer == nil {
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

// start adds a worker for each queued log, up to the limit; one that finds the queue empty ends. s.mu is held.
func (s *Syncer) start() {
	for n := min(len(s.queue), s.options.Parallel-s.workers); n > 0; n-- {
		s.workers++
		go s.work()
	}
}

func (s *Syncer) work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		l := s.queue[0]
		s.queue = s.queue[1:]
		l.syncState = syncBusy
		s.mu.Unlock()
		l.force()
		s.mu.Lock()
		if l.syncState == syncAgain {
			l.syncState = syncQueued
			s.queue = append(s.queue, l)
			if s.options.Mode == SyncOS && !s.closed {
				if s.timer == nil {
					s.timer = s.options.AfterFunc(s.options.Interval, s.tick)
				}
				break
			}
		} else {
			l.syncState = syncIdle
		}
	}
	s.workers--
	s.idle.Broadcast()
}

// Close forces what is dirty and returns when no force is under way. Logs are closed before it.
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
