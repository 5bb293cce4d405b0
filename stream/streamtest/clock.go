package streamtest

import (
	"time"
)

// WallClock is the time that the application sees.
func (d *Driver) WallClock() time.Time { return time.UnixMilli(d.now) }

// AdvanceWallClock moves the clock forward, and processes what that brings. Records that wait to be retried are
// processed on the way, each at its own time; punctuation that is due is called once, at the end.
func (d *Driver) AdvanceWallClock(by time.Duration) {
	d.t.Helper()
	d.must(d.TryAdvanceWallClock(by))
}

// TryAdvanceWallClock is AdvanceWallClock for tests that expect a failure.
func (d *Driver) TryAdvanceWallClock(by time.Duration) error {
	if d.failed != nil {
		return d.stopped()
	}
	end := d.now + by.Milliseconds()
	if err := d.retryUntil(end); err != nil {
		return err
	}
	d.now = end
	if err := d.punctuate(); err != nil {
		if err := d.fail(err); err != nil {
			return err
		}
	}
	return d.process()
}

// NextRetry is when the clock must be for the next record that failed to be processed again; ok is false when none
// waits. See [topology.Retry].
func (d *Driver) NextRetry() (at time.Time, ok bool) {
	millis, ok := d.nextRetry()
	return time.UnixMilli(millis), ok
}

func (d *Driver) nextRetry() (millis int64, ok bool) {
	for _, r := range d.runs {
		if at, waits := r.Retries.Next(); waits && (!ok || at < millis) {
			millis, ok = at, true
		}
	}
	return millis, ok
}

// retryUntil moves the clock from one retry to the next, up to end.
func (d *Driver) retryUntil(end int64) error {
	for {
		at, ok := d.nextRetry()
		if !ok || at > end {
			return nil
		}
		d.now = max(d.now, at)
		if err := d.retry(); err != nil {
			if err := d.fail(err); err != nil {
				return err
			}
		}
		if err := d.process(); err != nil {
			return err
		}
	}
}

// retry processes a record whose time has come. What was processed before is committed, as in production.
func (d *Driver) retry() error {
	if d.open() {
		if err := d.commit(); err != nil {
			return err
		}
	}
	for _, r := range d.runs {
		if processed, err := r.Retry(d.now); processed || err != nil {
			if err != nil {
				return err
			}
			return d.worked(1)
		}
	}
	return nil
}

func (d *Driver) punctuate() error {
	fired := false
	for _, r := range d.runs {
		if err := d.atEnd(r); err != nil {
			return err
		}
		f, err := r.Punctuate(d.now)
		if err != nil {
			return err
		}
		fired = fired || f
	}
	if fired && d.config.CommitEvery > 0 {
		return d.commit()
	}
	return nil
}
