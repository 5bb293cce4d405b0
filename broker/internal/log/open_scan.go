package log

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// scan looks at the batches of the segments from r.first on, and at the indexes of those before.
func (r *recovery) scan() error {
	l := r.log
	if r.first == 0 && r.snapshot < 0 {
		for _, s := range r.segments {
			s.aborted = nil
		}
	}
	l.openTxns = l.producers.openTxns()
	every := l.config.Load().IndexBytes
	for i, s := range r.segments {
		if i >= r.first {
			continue
		}
		if err := r.peek(s, every); err != nil {
			return err
		}
	}
	if !r.clean || r.first < len(r.segments) {
		r.end = r.segments[min(r.first, len(r.segments)-1)].base
	}
	for i := r.first; i < len(r.segments); i++ {
		whole, err := r.scanSegment(r.segments[i])
		if err != nil {
			return err
		}
		gap := i+1 < len(r.segments) && r.segments[i+1].base != r.end && !r.segments[i].sparse.Load()
		if !whole || gap {
			return r.dropAfter(i)
		}
		if i+1 < len(r.segments) {
			r.end = max(r.end, r.segments[i+1].base)
		}
	}
	if r.end < l.checkpoint.synced {
		return r.missing(r.segments[len(r.segments)-1])
	}
	return nil
}

// missing says that batches behind r.end are not where they were synced: s is cut short, or what follows on it is gone.
func (r *recovery) missing(s *segment) error {
	return fmt.Errorf("segment %s ends at byte %d, at offset %d, but the log was synced up to offset %d; restore the "+
		"files: %w", s.path(logSuffix), s.size.Load(), r.end, r.log.checkpoint.synced, kerr.KafkaStorageError)
}

// peek learns a sealed segment's largest timestamp.
func (r *recovery) peek(s *segment, every int) error {
	if !s.acquire() {
		return errSegmentGone
	}
	defer s.release()
	err := s.loadIndex(every)
	if s != r.segments[len(r.segments)-1] {
		s.idle()
		s.idle()
	}
	return err
}

// skip moves a scanner to the first batch of its segment that has to be checked, and the end of the log with it. The
// index has what lies before that batch then.
//
// A snapshot of the producers lies below the last synced offset, and the index of its segment was synced before the
// snapshot got its name. So of the index everything that ends before the snapshot is true, unless the file was damaged
// since: the batch that the last such entry is about has to be where the entry says, and the largest timestamp before
// it, too. What follows may be of batches that a power cut took. A segment that was compacted since has another index.
func (r *recovery) skip(c *scanner, every int) {
	s := c.segment
	if r.snapshot <= s.base || s.sparse.Load() {
		return
	}
	offsets, times, ok := s.readIndex()
	if !ok {
		return
	}
	n := sort.Search(len(offsets), func(i int) bool { return s.base+int64(offsets[i].offset) >= r.snapshot })
	if n == 0 {
		return
	}
	e := offsets[n-1]
	c.seek(int64(e.position))
	b, position, err := c.next()
	fits := err == nil && b.LastOffset() == s.base+int64(e.offset)
	if fits {
		known := sort.Search(len(times), func(i int) bool { return s.base+int64(times[i].offset) >= b.BaseOffset() })
		times = times[:known]
		fits = known == 0 || s.holds(times[known-1], offsets[:n])
	}
	if !fits {
		r.log.options.Logger.Warn("index does not fit its segment, all of the segment is checked", "partition",
			r.log.options.name(), "file", s.path(indexSuffix), "byte", e.position, "offset", s.base+int64(e.offset))
		c.seek(0)
		return
	}
	s.index.resume(s.base, offsets[:n-1], times, every)
	r.end, c.position = b.BaseOffset(), position
	if !s.sealed.Load() {
		r.log.snapshotAt = position
	}
}

// holds tells whether a batch that lies before the last entry of offsets is as an entry of the index of times says.
func (s *segment) holds(e timeEntry, offsets []offsetEntry) bool {
	i := sort.Search(len(offsets), func(i int) bool { return offsets[i].offset > e.offset })
	if i == len(offsets) {
		return false
	}
	from := int64(0)
	if i > 0 {
		from = int64(offsets[i-1].position)
	}
	for c := s.scan(from, int64(offsets[i].position)); ; {
		b, _, err := c.next()
		if err != nil {
			return false
		}
		if at := s.base + int64(e.offset); b.LastOffset() >= at {
			return b.BaseOffset() <= at && b.MaxTimestamp() == e.timestamp
		}
	}
}

// scanSegment checks the batches of a segment from where it has to, indexes them and replays the producers' state.
// whole is false when its end had to be cut.
func (r *recovery) scanSegment(s *segment) (whole bool, err error) {
	l := r.log
	now, every := l.age(), l.config.Load().IndexBytes
	s.index.reset()
	s.index.used = true
	c := s.scan(0, s.size.Load())
	c.buf = l.options.Files.borrow()
	defer func() { l.options.Files.giveBack(c.buf) }()
	r.skip(c, every)
	for {
		b, position, err := c.next()
		if err == nil && b.BaseOffset() < r.end {
			err = fmt.Errorf("%w: offset %d after %d", batch.ErrCorrupt, b.BaseOffset(), r.end-1)
		}
		if err == nil && b.BaseOffset() != r.end && !s.sparse.Load() {
			err = fmt.Errorf("%w: offset %d, want %d", batch.ErrCorrupt, b.BaseOffset(), r.end)
		}
		switch {
		case err == io.EOF:
			s.next.Store(max(r.end, s.base))
			return true, nil
		case err != nil && !torn(err):
			return false, err
		case err != nil:
			return false, r.cut(s, position, err)
		}
		s.index.add(s.base, b.LastOffset(), int(position), b.Size(), b.MaxTimestamp(), every)
		r.end = b.LastOffset() + 1
		if b.BaseOffset() >= r.snapshot {
			age := now
			if b.LastOffset() < l.checkpoint.agesEnd {
				age = s.ages.appended.Load()
			}
			if err := l.replay(s, b, age); err != nil {
				return false, err
			}
		}
	}
}

// torn tells whether an error means that the bytes are no batch, as against a disk that can't be read.
func torn(err error) bool {
	return errors.Is(err, batch.ErrShort) || errors.Is(err, batch.ErrCorrupt) || errors.Is(err, batch.ErrMagic)
}

// cut ends the segment at position, where its bytes are no batch. Below the last synced offset that is damage.
func (r *recovery) cut(s *segment, position int64, cause error) error {
	l := r.log
	if r.end < l.checkpoint.synced || r.imported && s != r.segments[len(r.segments)-1] {
		return fmt.Errorf("segment %s is damaged at byte %d, at offset %d, and was synced up to offset %d; restore "+
			"the file: %w: %w", s.path(logSuffix), position, r.end, l.checkpoint.synced, kerr.KafkaStorageError, cause)
	}
	l.options.Logger.Warn("log cut", "partition", l.options.name(), "file", s.path(logSuffix), "offset", r.end,
		"bytes", s.size.Load()-position, "cause", cause)
	s.size.Store(position)
	s.next.Store(max(r.end, s.base))
	l.dirUnsynced = true
	if err := s.cut(); err != nil {
		// There may be no room for the copy: what was synced can be read, and what is appended goes over the rest.
		l.options.Logger.Warn("log not cut", "partition", l.options.name(), "file", s.path(logSuffix), "err", err)
		s.torn = true
	}
	return nil
}

// dropAfter deletes the segments behind number i, which follow on something that is gone.
func (r *recovery) dropAfter(i int) error {
	if r.end < r.log.checkpoint.synced {
		return r.missing(r.segments[i])
	}
	doomed := r.segments[i+1:]
	r.segments = r.segments[: i+1 : i+1]
	segments := r.segments
	r.log.segments.Store(&segments)
	for _, s := range doomed {
		r.log.options.Logger.Warn("segment dropped", "partition", r.log.options.name(), "file", s.path(logSuffix))
		if err := errors.Join(s.close(), s.remove()); err != nil {
			return fmt.Errorf("segment %s: drop: %w", s.path(logSuffix), err)
		}
	}
	return nil
}

// replay takes a batch of the log into the producers' state.
func (l *Log) replay(s *segment, b batch.Batch, age int64) error {
	if b.ProducerID() < 0 {
		return nil
	}
	p := l.producers.get(b.ProducerID())
	switch {
	case !b.IsControl():
		if p.append(b, b.BaseOffset(), b.LastOffset(), age) {
			l.openTxns = l.openTxns.open(p.id, b.BaseOffset())
		}
	case b.Count() == 0: // Apache Kafka has compacted it, with all of its transaction
		return nil
	default:
		kind, coordinatorEpoch, err := b.Control()
		if err != nil {
			return fmt.Errorf("segment %s: marker at offset %d: %w: %w", s.path(logSuffix), b.BaseOffset(),
				kerr.KafkaStorageError, err)
		}
		if kind != batch.Abort && kind != batch.Commit {
			return nil
		}
		if first := p.mark(b.ProducerEpoch(), coordinatorEpoch, b.MaxTimestamp(), age); first >= 0 {
			l.closeTransaction(s, p.id, first, b.BaseOffset(), kind == batch.Abort)
		}
	}
	l.producers[p.id] = p
	return nil
}
