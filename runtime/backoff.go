package runtime

import (
	"context"
	"time"
)

// The pause after a failure: the first comes at once, the following ones ever later.
const (
	healLeast = 20 * time.Millisecond
	healMost  = 5 * time.Second
)

// backOff lets a worker pause after failures.
type backOff struct{ failures int } // in a row, without a commit between

// failed notes a failure, and sleeps before another try when the last ones failed, too.
func (b *backOff) failed(ctx context.Context, stop <-chan struct{}) error {
	b.failures++
	pause := b.pause()
	if pause == 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-stop:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *backOff) pause() time.Duration {
	if b.failures <= 1 {
		return 0
	}
	return min(healLeast<<min(b.failures-2, 10), healMost)
}

// committed notes that there was a commit.
func (b *backOff) committed() { b.failures = 0 }
