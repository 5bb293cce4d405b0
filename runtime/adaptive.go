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
	most  int // records of a transaction; 0: any number
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

const (
	// flushMost is how long the tasks may bring out what a commit needs before the next commits get fewer records.
	flushMost = time.Second
	// recordsMost is from when on the number of records needs no limit: the interval ends transactions before.
	recordsMost = 1 << 20
)

// flushed adapts how many records a transaction takes. What a commit emits passes through the program's functions, too,
// and all of it belongs to the commit. Where that takes long the next transactions are smaller, so that a worker which
// fails to commit in time, and goes back, does not fail again and again.
func (p *pace) flushed(records int, took time.Duration) {
	switch {
	case took > flushMost && records > 0:
		p.most = max(1, int(int64(records)*int64(flushMost)/int64(took)))
	case p.most > 0 && records >= p.most && took < flushMost/4:
		if p.most *= 2; p.most > recordsMost {
			p.most = 0
		}
	}
}

// left is how many records the transaction takes that has so many.
func (p *pace) left(records int) int {
	if p.most == 0 {
		return recordsMost
	}
	return max(p.most-records, 0)
}
