package clock

import (
	"sync"
	"time"
)

// Steady is a clock for ages. It never goes back, and it does not follow the wall clock when somebody sets that one:
// what has passed is told by a timer, which no setting of the wall clock moves. So it goes on while the wall clock is
// behind it, and a step of the wall clock that the timer knows nothing of does not count.
//
// A program that starts cannot tell a step from the time that it was down for. It begins at the wall clock, or where
// Raise says that its predecessor had come to, whichever is later.
type Steady struct {
	clock Clock
	every time.Duration

	mu      sync.Mutex
	now     time.Time // what Now returned last
	tick    time.Time // the steady time of the last tick
	wall    time.Time // and the wall clock's
	stop    func() bool
	stopped bool
}

// NewSteady returns a clock that looks at the wall clock each time that every has passed. It runs until Stop.
func NewSteady(c Clock, every time.Duration) *Steady {
	now := c.Now()
	s := &Steady{clock: c, every: every, now: now, tick: now, wall: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arm()
	return s
}

// arm has the next tick come. s.mu is held.
func (s *Steady) arm() { s.stop = s.clock.AfterFunc(s.every, s.look) }

// Now returns the steady time.
func (s *Steady) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since(s.clock.Now().Sub(s.wall))
}

// since moves the steady time to passed after the last tick, but neither back nor by more than two ticks: the timer
// would have told. s.mu is held.
func (s *Steady) since(passed time.Duration) time.Time {
	if at := s.tick.Add(min(passed, 2*s.every)); at.After(s.now) {
		s.now = at
	}
	return s.now
}

// look is the tick.
func (s *Steady) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	wall := s.clock.Now()
	passed := wall.Sub(s.wall)
	if passed < s.every || passed > 2*s.every { // the wall clock was set
		passed = s.every
	}
	s.tick, s.wall = s.since(passed), wall
	s.arm()
}

// Raise moves the steady time to t, unless it is there already.
func (s *Steady) Raise(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ahead := t.Sub(s.now); ahead > 0 {
		s.now, s.tick = s.now.Add(ahead), s.tick.Add(ahead)
	}
}

// Stop ends the ticks.
func (s *Steady) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.stop()
}
