package broker

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"syscall"
	"time"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/log"
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

// fullRemedy is what to do about a full disk.
const fullRemedy = "free space, lower retention, or delete topics; writes resume by themselves; this is said once a " +
	"minute"

// isFull tells whether an error says that the disk, or a quota, has no room.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// complain logs that a coordinator's log failed, once a minute for each kind of failure: every request of every client
// may meet it, until an operator does something. A log that is closed is the end of the broker, and no failure.
func (b *broker) complain(what string, err error, args ...any) {
	if errors.Is(err, coord.ErrClosed) || errors.Is(err, log.ErrClosed) {
		return
	}
	kind := strings.Map(func(r rune) rune { // whatever the offset
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, what+": "+err.Error())
	if !b.sparing.say(kind, b.steady.Now()) {
		return
	}
	args = append(args, "err", err)
	if isFull(err) {
		args = append(args, "remedy", fullRemedy)
	}
	b.cfg.Logger.Error(what, args...)
}
