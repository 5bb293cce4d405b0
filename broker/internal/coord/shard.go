package coord

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"thalweg/broker/internal/log"
	"thalweg/internal/batch"
)

// ErrClosed is returned by a shard that was closed.
var ErrClosed = errors.New("coordinator: closed")

// ErrOffline is returned by a shard whose log cannot be read.
var ErrOffline = errors.New("coordinator: offline")

// Config is what a shard needs of its surroundings.
type Config struct {
	Machine   Machine
	Log       *log.Log
	Now       func() time.Time
	AfterFunc func(time.Duration, func()) (stop func() bool)
	// Complain is told what failed without a caller who would hear of it.
	Complain func(what string, err error)
	// SnapshotBytes is how much is appended before the log is cut down to a snapshot. A large state doubles it.
	SnapshotBytes int64
	// OnTick is called after each tick of the machine, without a lock; it may be nil.
	OnTick func()
}

// Shard runs one machine over one log. Its methods may be called by any goroutine.
type Shard struct {
	cfg Config

	mu       sync.Mutex
	builder  *batch.Builder
	appended int64 // bytes since the last snapshot
	snapshot int64 // bytes of the last snapshot
	armed    time.Time
	stop     func() bool
	closed   bool
	offline  error // why there is no log; never changed

	last       atomic.Int64 // offset of the newest record, -1 if none
	background sync.WaitGroup
}

// Open replays the log and starts the machine's clock.
func Open(cfg Config) (*Shard, error) {
	s := &Shard{cfg: cfg, builder: batch.NewBuilder(batch.None)}
	s.last.Store(cfg.Log.End() - 1)
	if err := s.replay(); err != nil {
		return nil, fmt.Errorf("coordinator: recover from %s: %w", cfg.Log.Dir(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arm()
	return s, nil
}

// Offline returns a shard without a log, because of cause. It refuses every step and every look, so that nobody takes a
// state that cannot be read for an empty one.
func Offline(cause error) *Shard {
	s := &Shard{offline: fmt.Errorf("%w: %w", ErrOffline, cause)}
	s.last.Store(-1)
	return s
}

// Err returns an error that wraps ErrOffline when the shard has no log, or nil.
func (s *Shard) Err() error { return s.offline }

// Last returns the LSN of everything that was stepped so far, for Wait.
func (s *Shard) Last() int64 { return s.last.Load() }

// Wait returns once the shard's log is durable up to an LSN, which Do, View and Last return.
func (s *Shard) Wait(ctx context.Context, lsn int64) error {
	if lsn < 0 {
		return nil
	}
	if err := s.cfg.Log.WaitDurable(ctx, lsn); err != nil {
		return fmt.Errorf("coordinator: make durable: %w", err)
	}
	return nil
}

// Do takes one step. The LSN (an offset in the shard's log) is that of the step: a reply that reveals the step, or
// anything before it, must Wait
// first. An error means that nothing has happened; the functions of Step.After have been told.
func (s *Shard) Do(f func(now time.Time) Step) (lsn int64, err error) {
	if s.offline != nil {
		return -1, s.offline
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return -1, ErrClosed
	}
	now := s.cfg.Now()
	step := f(now)
	err = s.append(step, now)
	for _, after := range step.After {
		after(err)
	}
	s.arm()
	if s.appended > max(s.cfg.SnapshotBytes, s.snapshot) {
		s.takeSnapshot()
	}
	return s.last.Load(), err
}

// View looks at the machine without stepping it. The LSN is as that of Do. An error means that f was not called.
func (s *Shard) View(f func(now time.Time)) (lsn int64, err error) {
	if s.offline != nil {
		return -1, s.offline
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.cfg.Now())
	return s.last.Load(), nil
}

// Marker ends a producer's transaction in the log.
func (s *Shard) Marker(m log.Marker) (lsn int64, err error) {
	if s.offline != nil {
		return -1, s.offline
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return -1, ErrClosed
	}
	done, err := s.cfg.Log.AppendMarker(m)
	if err != nil {
		return -1, fmt.Errorf("coordinator: append marker: %w", err)
	}
	s.last.Store(done.LastOffset)
	s.cfg.Machine.ReplayMarker(Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch}, m.Commit)
	return done.LastOffset, nil
}

// Close stops the clock. The log stays open.
func (s *Shard) Close() {
	s.mu.Lock()
	s.closed = true
	if s.stop != nil {
		s.stop()
	}
	s.mu.Unlock()
	s.background.Wait()
}

func (s *Shard) append(step Step, now time.Time) error {
	if len(step.Records) == 0 {
		return nil
	}
	raw, err := s.encode(step.Records, step.Producer, now.UnixMilli())
	if err != nil {
		return err
	}
	done, err := s.cfg.Log.AppendFrom(raw, log.OriginCoordinator)
	if err != nil {
		return fmt.Errorf("coordinator: append: %w", err)
	}
	s.last.Store(done.LastOffset)
	s.appended += int64(len(raw))
	for _, r := range step.Records {
		r.Timestamp = now.UnixMilli()
		if err := s.cfg.Machine.Replay(r, step.Producer, now); err != nil {
			return fmt.Errorf("coordinator: replay of its own record: %w", err)
		}
	}
	return nil
}

func (s *Shard) encode(records []Record, p *Producer, timestamp int64) ([]byte, error) {
	s.builder.Reset()
	for _, r := range records {
		s.builder.Append(timestamp, r.Key, r.Value, nil)
	}
	producer := batch.Producer{ID: -1, Epoch: -1, Sequence: -1}
	if p != nil {
		producer = batch.Producer{ID: p.ID, Epoch: p.Epoch, Sequence: -1, Transactional: true}
	}
	raw, err := s.builder.Finish(producer)
	if err != nil {
		return nil, fmt.Errorf("coordinator: encode: %w", err)
	}
	return raw, nil
}

// arm sees to it that a tick comes no later than the machine's deadline. A deadline that moved out since is found out
// at the tick. s.mu is held.
func (s *Shard) arm() {
	at := s.cfg.Machine.Deadline()
	if at.IsZero() || s.closed || !s.armed.IsZero() && !at.Before(s.armed) {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	s.armed = at
	s.stop = s.cfg.AfterFunc(max(at.Sub(s.cfg.Now()), 0), func() { s.tick(at) })
}

func (s *Shard) tick(at time.Time) {
	s.mu.Lock()
	if s.closed || !s.armed.Equal(at) {
		s.mu.Unlock()
		return
	}
	s.armed, s.stop = time.Time{}, nil
	s.background.Add(1)
	s.mu.Unlock()
	defer s.background.Done()
	if _, err := s.Do(s.cfg.Machine.Tick); err != nil {
		s.cfg.Complain("a timer's records were refused", err)
	}
	if s.cfg.OnTick != nil {
		s.cfg.OnTick()
	}
}
