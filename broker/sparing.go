package broker

import (
	"maps"
	"sync"
	"time"
)

// sparing keeps what happens over and over from filling the log: each thing is said once a minute.
type sparing struct {
	mu   sync.Mutex
	said map[string]time.Time
}

const sparingEvery = time.Minute

// say tells whether to log something now.
func (s *sparing) say(what string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.said[what]; ok && now.Sub(at) < sparingEvery {
		return false
	}
	maps.DeleteFunc(s.said, func(_ string, at time.Time) bool { return now.Sub(at) >= sparingEvery })
	if s.said == nil {
		s.said = map[string]time.Time{}
	}
	s.said[what] = now
	return true
}
