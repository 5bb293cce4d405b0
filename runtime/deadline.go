package runtime

import (
	"sync/atomic"
	"time"
)

// turnMost is how long a worker processes before it looks at what else there is to do.
const turnMost = 100 * time.Millisecond

// deadline ends a turn after the record at hand. A timer sets a flag, which tasks look at after each record: fast
// records pay no clock for it, and slow ones keep the worker from its other duties for one record at most.
type deadline struct {
	passed atomic.Bool
	timer  *time.Timer
}

func newDeadline() *deadline {
	d := new(deadline)
	d.timer = time.AfterFunc(turnMost, func() { d.passed.Store(true) })
	return d
}

// set begins a turn.
func (d *deadline) set(after time.Duration) {
	d.passed.Store(false)
	d.timer.Reset(after)
}

// turnTime is how long the worker may process now: until the next commit is due, or a little. None is due while one is
// under way, whose end ends the turn.
func (w *worker) turnTime(now time.Time) time.Duration {
	left := w.pace.interval()
	if w.commits.underWay {
		left = turnMost
	} else if !w.commits.open.IsZero() {
		left -= now.Sub(w.commits.open)
	}
	return min(left, turnMost)
}

// longCommits is for how many commits calls count as long after one that was.
const longCommits = 32

// took notes how long the program's functions had the worker. A transaction begins when the first of its records is
// sent, and the broker aborts it after TransactionTimeout. Where a call may take most of that, records are sent at
// commits only, so that no call falls into an open transaction. That lasts for some commits after the call, since
// another may follow: going back to the last commit repeats the calls since then.
func (w *worker) took(d time.Duration) {
	if w.app.cfg.Guarantee == ExactlyOnce && w.pace.interval()+2*d > w.app.cfg.TransactionTimeout {
		w.long = longCommits
	}
}

// holdsBack tells that records wait in memory for the commit.
func (w *worker) holdsBack() bool { return w.long > 0 }
