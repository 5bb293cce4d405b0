package log

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TrimTo moves the start of the log to offset, as DeleteRecords does; -1 means the high watermark. Segments that lie
// wholly below it are deleted; when nothing is left above it, so is the active one. The new start survives a crash of
// the process at once, and a power cut from the next deletion or Maintain on. It returns the start of the log.
func (l *Log) TrimTo(offset int64) (int64, error) {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	high := l.high.Load()
	if offset == -1 {
		offset = high
	}
	if offset < 0 || offset > high {
		return l.start.Load(), fmt.Errorf("log: %s: trim to %d: the high watermark is %d: %w",
			l.options.name(), offset, high, kerr.OffsetOutOfRange)
	}
	if err := l.trim(offset); err != nil {
		return l.start.Load(), fmt.Errorf("log: %s: trim to %d: %w", l.options.name(), offset, err)
	}
	return l.start.Load(), nil
}

// trim is TrimTo under l.maintain.
func (l *Log) trim(offset int64) error {
	l.mu.Lock()
	if err := l.check("trim"); err != nil {
		l.mu.Unlock()
		return err
	}
	var err error
	moved := offset > l.start.Load()
	if moved {
		l.start.Store(offset)
		err = l.saveCheckpoint(func(cp *checkpoint) { cp.logStart = offset }, nil)
	}
	if active := l.active(); err == nil && l.start.Load() == l.end.Load() && active.size.Load() > 0 {
		_, err = l.roll()
	}
	l.mu.Unlock()
	if err == nil {
		err = l.dropSegments()
	}
	if moved {
		l.notify()
	}
	return err
}

// dropSegments deletes the segments below the start of the log. l.maintain is held.
func (l *Log) dropSegments() error {
	l.mu.Lock()
	segments, start := *l.segments.Load(), l.start.Load()
	n := 0
	for n < len(segments)-1 && segments[n+1].base <= start {
		n++
	}
	if n == 0 || l.closed {
		l.mu.Unlock()
		return nil
	}
	// First the start must be known for good: with some of the files gone and others back after a power cut, the
	// remainder would be taken for the log.
	err := l.saveCheckpoint(func(cp *checkpoint) { cp.logStart = start }, alone)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	kept := segments[n:len(segments):len(segments)]
	l.segments.Store(&kept)
	l.mu.Unlock()
	var errs []error
	for _, s := range segments[:n] {
		errs = append(errs, s.close(), s.remove())
	}
	return errors.Join(errs...)
}

// Maintain does what time asks for: retention, rolling of old segments, snapshots of long ones, forgetting of silent
// producers and idle indexes. The owner calls it now and then, off the path of requests. While the log is being
// compacted it does nothing.
func (l *Log) Maintain() error {
	if !l.maintain.TryLock() {
		return nil
	}
	defer l.maintain.Unlock()
	if err := l.maintainLocked(); err != nil {
		return fmt.Errorf("log: %s: maintain: %w", l.options.name(), err)
	}
	return nil
}

func (l *Log) maintainLocked() error {
	now := l.age()
	config := l.config.Load()
	l.mu.Lock()
	if err := l.check("maintain"); err != nil {
		l.mu.Unlock()
		return err
	}
	l.producers.expire(now - config.ProducerExpiry.Milliseconds())
	active := l.active()
	var err error
	old := now-active.ages.created.Load() >= config.SegmentAge.Milliseconds() || l.expired(active, config, now)
	if old && active.size.Load() > 0 {
		_, err = l.roll()
	}
	start := l.start.Load()
	if err == nil && start > l.startSynced {
		err = l.saveCheckpoint(func(cp *checkpoint) { cp.logStart = start }, alone)
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := l.fsync(); err != nil {
		return err
	}
	l.snapshot(config)
	if config.Delete {
		if err := l.retain(config, now); err != nil {
			return err
		}
	}
	segments := *l.segments.Load()
	for _, s := range segments[:len(segments)-1] {
		s.idle()
	}
	return nil
}

// expired tells whether the segment has not been appended to for longer than the retention.
func (l *Log) expired(s *segment, config *Config, now int64) bool {
	if !config.Delete || config.RetentionAge <= 0 {
		return false
	}
	appended := s.ages.appended.Load()
	return appended != 0 && appended < now-config.RetentionAge.Milliseconds()
}

// retain moves the start of the log over the sealed segments that are too old or too much. l.maintain is held.
func (l *Log) retain(config *Config, now int64) error {
	segments, high := *l.segments.Load(), l.high.Load()
	start := l.start.Load()
	excess := int64(-1)
	if config.RetentionBytes > 0 {
		excess = l.SizeBytes() - config.RetentionBytes
	}
	first := start
	for i, s := range segments[:len(segments)-1] {
		next := segments[i+1].base
		if next > high {
			break
		}
		excess -= s.size.Load()
		expired := l.expired(s, config, now)
		if excess < 0 && !expired {
			break
		}
		if next > first {
			l.logRetained(s, max(s.base, first), next-1, expired)
		}
		start = max(start, next)
	}
	if start == l.start.Load() {
		return l.dropSegments()
	}
	return l.trim(start)
}

// logRetained says that retention takes the records of a segment from first to last.
func (l *Log) logRetained(s *segment, first, last int64, byTime bool) {
	reason := "the size of the log"
	if byTime {
		reason = "the time since the segment's last append"
	}
	newest, _ := s.index.newest()
	l.options.Logger.Info("retention deletes records", "topic", l.options.Topic, "partition", l.options.Partition,
		"first", first, "last", last, "newest", time.UnixMilli(newest).UTC(),
		"appended", time.UnixMilli(s.ages.appended.Load()).UTC(), "because", reason)
}
