package log

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Pacer is the I/O budget of compaction, which all logs of a broker share: so many bytes a second are read and written.
// A second's worth is free after a pause.
type Pacer struct {
	bytesPerSecond func() int64
	now            func() time.Time
	afterFunc      func(d time.Duration, f func()) (stop func() bool)

	mu   sync.Mutex
	paid time.Time // what was taken so far is paid for by then
}

// NewPacer returns a budget that goes by a clock. It asks each time how much a second has.
func NewPacer(
	bytesPerSecond func() int64, now func() time.Time, afterFunc func(time.Duration, func()) func() bool,
) *Pacer {
	return &Pacer{bytesPerSecond: bytesPerSecond, now: now, afterFunc: afterFunc}
}

// take returns how long to wait after so many bytes. A nil Pacer has no limit.
func (p *Pacer) take(bytes int64) time.Duration {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if earliest := now.Add(-time.Second); p.paid.Before(earliest) {
		p.paid = earliest
	}
	p.paid = p.paid.Add(time.Duration(float64(bytes) / float64(p.bytesPerSecond()) * float64(time.Second)))
	return max(p.paid.Sub(now), 0)
}

// upkeep is the lock of what changes a log's segments. Compaction may hold it for long, so Lock interrupts it.
type upkeep struct {
	mu      sync.Mutex
	waiting atomic.Int32
	wake    chan struct{} // of a compaction that waits for its budget
}

func newUpkeep() upkeep { return upkeep{wake: make(chan struct{}, 1)} }

func (u *upkeep) Lock() {
	u.waiting.Add(1)
	select {
	case u.wake <- struct{}{}:
	default:
	}
	u.mu.Lock()
	u.waiting.Add(-1)
}

func (u *upkeep) TryLock() bool { return u.mu.TryLock() }
func (u *upkeep) Unlock()       { u.mu.Unlock() }

// errInterrupted ends a compaction that others wait for. The next one does what is left.
var errInterrupted = errors.New("interrupted")

const paceBytes = 256 << 10

// spend counts bytes that were read or written, and waits as long as the budget says.
func (c *compaction) spend(bytes int) error {
	u := &c.log.maintain
	select {
	case <-c.stop:
		return errInterrupted
	default:
	}
	if u.waiting.Load() > 0 {
		return errInterrupted
	}
	if c.spent += int64(bytes); c.spent < paceBytes {
		return nil
	}
	wait := c.log.options.Pacer.take(c.spent)
	c.spent = 0
	if wait == 0 {
		return nil
	}
	over := make(chan struct{})
	stop := c.log.options.Pacer.afterFunc(wait, func() { close(over) })
	defer stop()
	for {
		select {
		case <-over:
			return nil
		case <-c.stop:
			return errInterrupted
		case <-u.wake: // of somebody who may have come and gone before
			if u.waiting.Load() > 0 {
				return errInterrupted
			}
		}
	}
}
