package log

import (
	"errors"
	"fmt"

	"thalweg/internal/batch"
)

// Meter counts what a Read would return, without reading it: by the index, and by the first bytes of the batches behind
// the last entry of it. It remembers where it was, so that counting again after some appends looks at those only.
type Meter struct {
	segment *segment
	start   int64 // position of the batch that the reader's offset is in
	at      int64 // position of the first batch that is not counted
}

// Measure returns how many bytes of whole batches a reader finds from offset on. done tells that waiting adds nothing:
// there are as many as limit, or the rest lies in another segment, or a read fails.
func (l *Log) Measure(m *Meter, offset int64, limit int, isolation Isolation) (bytes int, done bool) {
	bound := l.bound(isolation)
	if offset < l.start.Load() || l.Err() != nil {
		return 0, true
	}
	if offset >= bound {
		return 0, false
	}
	if err := l.measure(m, offset, bound); err != nil {
		return 0, true
	}
	if m.segment == nil {
		return 0, true
	}
	bytes = int(m.at - m.start)
	return bytes, bytes >= limit || m.segment.next.Load() <= bound && m.segment.sealed.Load()
}

func (l *Log) measure(m *Meter, offset, bound int64) error {
	every := l.config.Load().IndexBytes
	if m.segment != nil {
		err := m.segment.measure(m, bound, every)
		if !errors.Is(err, errSegmentGone) {
			return err
		}
	}
	segments := *l.segments.Load()
	for _, s := range segments[segmentOf(segments, offset):] {
		if s.base >= bound {
			break
		}
		*m = Meter{segment: s}
		found, err := s.locate(m, offset, bound, every)
		if err != nil {
			return err
		}
		if found {
			return s.measure(m, bound, every)
		}
	}
	*m = Meter{}
	return nil
}

// locate finds the batch that offset is in, or the first after it; found is false when there is none below bound.
func (s *segment) locate(m *Meter, offset, bound int64, every int) (found bool, err error) {
	if !s.acquire() {
		return false, errSegmentGone
	}
	defer s.release()
	if err := s.loadIndex(every); err != nil {
		return false, err
	}
	position, _ := s.index.position(s.base, offset)
	position, last, err := s.skipTo(position, offset)
	m.start, m.at = position, position
	return err == nil && last >= offset && last < bound, err
}

// measure moves m.at to the first batch that does not end below bound.
func (s *segment) measure(m *Meter, bound int64, every int) error {
	if !s.acquire() {
		return errSegmentGone
	}
	defer s.release()
	if err := s.loadIndex(every); err != nil {
		return err
	}
	from, _ := s.index.position(s.base, bound-1)
	position, _, err := s.skipTo(max(from, m.at), bound)
	m.at = position
	return err
}

// skipTo returns the position, from the one of some batch on, of the first batch that does not end below offset, and
// its last offset; at the end of the segment that is -1. The segment is acquired.
func (s *segment) skipTo(position, offset int64) (at, last int64, err error) {
	var prefix [batch.PrefixBytes]byte
	for position < s.size.Load() {
		if err := s.readAt(prefix[:], position); err != nil {
			return position, -1, err
		}
		size, ok := batch.SizeOf(prefix[:])
		if !ok {
			return position, -1, fmt.Errorf("%w: no batch at byte %d", batch.ErrCorrupt, position)
		}
		if last := batch.LastOffsetOf(prefix[:]); last >= offset {
			return position, last, nil
		}
		position += int64(size)
	}
	return position, -1, nil
}
