package log

import (
	"fmt"
	"io"

	"thalweg/internal/batch"
)

// OffsetForTime returns the first readable record with a timestamp of at least ms. ok is false when there is none.
func (l *Log) OffsetForTime(ms int64) (found TimeOffset, ok bool, err error) {
	err = l.settled(func(segments []*segment) (err error) {
		for _, s := range segments {
			if newest, _ := s.index.newest(); newest < ms || s.next.Load() <= l.start.Load() {
				continue
			}
			if found, ok, err = l.search(s, ms); ok || err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return TimeOffset{}, false, fmt.Errorf("log: %s: offset for timestamp %d: %w", l.options.name(), ms, err)
	}
	return found, ok, nil
}

// MaxTimestamp returns the first readable record that has the largest timestamp. ok is false when the log is empty.
func (l *Log) MaxTimestamp() (found TimeOffset, ok bool, err error) {
	largest := int64(-1)
	err = l.settled(func(segments []*segment) error {
		largest = -1
		for _, s := range segments {
			newest, err := l.newest(s)
			if err != nil {
				return err
			}
			largest = max(largest, newest)
		}
		return nil
	})
	if err != nil {
		return TimeOffset{}, false, fmt.Errorf("log: %s: largest timestamp: %w", l.options.name(), err)
	}
	if largest < 0 {
		return TimeOffset{}, false, nil
	}
	return l.OffsetForTime(largest)
}

// newest returns the largest timestamp of the readable batches of s, -1 when there are none.
func (l *Log) newest(s *segment) (int64, error) {
	start, high := l.start.Load(), l.high.Load()
	newest, offset := s.index.newest()
	if offset >= start && offset < high || s.base >= high || s.next.Load() <= start {
		if offset < start || offset >= high {
			newest = -1
		}
		return newest, nil
	}
	// The batch that has it is trimmed, or may not be read yet.
	if !s.acquire() {
		return -1, errSegmentGone
	}
	defer s.release()
	newest = -1
	c := s.scan(0, s.size.Load())
	for {
		b, position, err := c.next()
		if err == io.EOF || err == nil && b.LastOffset() >= high {
			return newest, nil
		}
		if err != nil {
			return 0, s.damage(s.base, position, err)
		}
		if b.LastOffset() >= start {
			newest = max(newest, b.MaxTimestamp())
		}
	}
}

// search looks for the first readable record of s at or after ms.
func (l *Log) search(s *segment, ms int64) (TimeOffset, bool, error) {
	if !s.acquire() {
		return TimeOffset{}, false, errSegmentGone
	}
	defer s.release()
	if err := s.loadIndex(l.config.Load().IndexBytes); err != nil {
		return TimeOffset{}, false, err
	}
	start, high := l.start.Load(), l.high.Load()
	position, _ := s.index.position(s.base, max(start, s.index.before(s.base, ms)))
	c := s.scan(position, s.size.Load())
	for {
		b, position, err := c.next()
		if err == io.EOF {
			return TimeOffset{}, false, nil
		}
		if err != nil {
			return TimeOffset{}, false, s.damage(s.base, position, err)
		}
		if b.BaseOffset() >= high {
			return TimeOffset{}, false, nil
		}
		if b.MaxTimestamp() < ms || b.LastOffset() < start {
			continue
		}
		it, err := b.Records(nil)
		if err != nil {
			return TimeOffset{}, false, s.damage(b.BaseOffset(), position, err)
		}
		var r batch.Record
		for it.Next(&r) {
			if r.Timestamp >= ms && r.Offset >= start {
				return TimeOffset{Offset: r.Offset, Timestamp: r.Timestamp, LeaderEpoch: b.LeaderEpoch()}, true, nil
			}
		}
		if it.Err() != nil {
			return TimeOffset{}, false, s.damage(b.BaseOffset(), position, it.Err())
		}
	}
}
