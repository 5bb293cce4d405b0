package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"thalweg/internal/memory"
)

const (
	// stallMax is how long a client may take for a mebibyte of a request, or of an answer while others wait.
	stallMax = 30 * time.Second
	// silenceMax is how long it may stand still in the middle of one while others wait for the memory.
	silenceMax = 5 * time.Second
	// stallLook is the time between two looks at a client that stands still.
	stallLook = time.Second
)

var errStalled = errors.New("the client is too slow for what others wait for")

// stall follows a client that sends a mebibyte of a request, or takes one of an answer, whose memory it holds.
type stall struct {
	gate  *memory.Gate
	until time.Time
	moved time.Time
}

func newStall(gate *memory.Gate) *stall {
	now := time.Now()
	return &stall{gate: gate, until: now.Add(stallMax), moved: now}
}

// deadline is that of the next step.
func (s *stall) deadline() time.Time { return time.Now().Add(stallLook) }

// step judges a read or a write that has moved n bytes and left some. It returns an error if the client has to go. With
// strict, a client that exceeds stallMax has to go even if nobody waits.
func (s *stall) step(n int64, err error, strict bool) error {
	now := time.Now()
	if n > 0 {
		s.moved = now
	}
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case now.Sub(s.moved) >= silenceMax && s.gate.Waited():
		return fmt.Errorf("nothing has moved for %v (%w)", silenceMax, errStalled)
	case !now.Before(s.until) && (strict || s.gate.Waited()):
		return fmt.Errorf("a mebibyte takes longer than %v (%w)", stallMax, errStalled)
	}
	return nil
}
