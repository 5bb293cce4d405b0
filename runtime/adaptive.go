package runtime

import "time"

// The bounds between which the time between commits follows the load.
const (
	commitLeast = 10 * time.Millisecond
	commitMost  = 100 * time.Millisecond
)

// pace chooses the time between commits. A worker that has little to do can afford the next one soon, which is good
// for latency. One that hardly gets through its input gains by waiting: each changed key is written once per commit.
type pace struct {
	fixed time.Duration // 0: adaptive
	now   time.Duration
}

func newPace(fixed time.Duration) *pace {
	p := &pace{fixed: fixed, now: commitLeast}
	if fixed > 0 {
		p.now = fixed
	}
	return p
}

// interval is the time from the first uncommitted work to its commit.
func (p *pace) interval() time.Duration { return p.now }

// committed adapts to how it was: saturated tells that the worker was busy for most of the time since the last commit.
func (p *pace) committed(saturated bool) {
	switch {
	case p.fixed > 0:
	case saturated:
		p.now = min(2*p.now, commitMost)
	default:
		p.now = max(p.now/2, commitLeast)
	}
}
