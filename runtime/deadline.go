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
