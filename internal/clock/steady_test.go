package clock_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/clock"
)

// hand is a clock whose wall and whose timer move by hand, each for itself.
type hand struct {
	wall    time.Time
	passed  time.Duration
	timer   func()
	dueAt   time.Duration
	stopped bool
}

func (h *hand) Now() time.Time { return h.wall }

func (h *hand) AfterFunc(d time.Duration, f func()) func() bool {
	h.timer, h.dueAt = f, h.passed+d
	return func() bool { h.stopped = true; return true }
}

// pass lets time go by, as it does when nobody sets the clock.
func (h *hand) pass(d time.Duration) {
	end := h.passed + d
	for h.dueAt <= end {
		h.wall, h.passed = h.wall.Add(h.dueAt-h.passed), h.dueAt
		h.timer()
	}
	h.wall, h.passed = h.wall.Add(end-h.passed), end
}

func TestSteadyCountsWhatPassesAndNoSteps(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	h := &hand{wall: start}
	s := clock.NewSteady(h, 30*time.Second)
	h.pass(10 * time.Minute)
	require.Equal(t, 10*time.Minute, s.Now().Sub(start), "without steps it is the wall clock")
	for _, step := range []time.Duration{7 * time.Hour, -13 * time.Hour, 200 * 365 * 24 * time.Hour, -time.Hour} {
		before := s.Now()
		h.wall = h.wall.Add(step)
		require.InDelta(t, 0, s.Now().Sub(before), float64(time.Minute), "a step of %v", step)
		h.pass(time.Hour)
		require.InDelta(t, time.Hour, s.Now().Sub(before), float64(time.Minute), "an hour after a step of %v", step)
	}
	last := s.Now()
	for range 100 { // a clock that is set without end
		h.wall = h.wall.Add(-time.Hour)
		h.pass(45 * time.Second)
		require.False(t, s.Now().Before(last), "it never goes back")
		last = s.Now()
	}
	require.False(t, h.stopped)
	s.Stop()
	require.True(t, h.stopped)
}

func TestSteadyGoesOnFromWhereItWas(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	h := &hand{wall: start}
	s := clock.NewSteady(h, 30*time.Second)
	s.Raise(start.Add(-time.Hour))
	require.Equal(t, start, s.Now())
	s.Raise(start.Add(5 * time.Hour)) // the wall clock was set back while the program was down
	require.Equal(t, start.Add(5*time.Hour), s.Now())
	h.pass(time.Hour)
	require.Equal(t, start.Add(6*time.Hour), s.Now())
}
