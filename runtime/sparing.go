package runtime

import "time"

// sparing keeps what happens over and over from filling the log: it is said at once, and then ever more seldom.
type sparing struct{ of map[string]*repeated }

// repeated is something that happens over and over.
type repeated struct {
	times int64     // in all
	last  time.Time // that it happened
	said  time.Time
	pause time.Duration // until it is said again
}

const (
	sparingLeast = 10 * time.Second
	sparingMost  = 10 * time.Minute
	sparingKinds = 1000 // of what is remembered
)

// say tells whether to log something now, and how often it has happened.
func (s *sparing) say(what string, now time.Time) (times int64, ok bool) {
	r := s.of[what]
	if r == nil || now.Sub(r.last) > sparingMost {
		if s.of == nil || len(s.of) >= sparingKinds {
			s.of = map[string]*repeated{}
		}
		r = &repeated{}
		s.of[what] = r
	}
	r.times++
	r.last = now
	if r.times > 1 && now.Sub(r.said) < r.pause {
		return r.times, false
	}
	r.said, r.pause = now, min(max(2*r.pause, sparingLeast), sparingMost)
	return r.times, true
}
