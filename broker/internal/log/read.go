package log

import (
	"errors"
	"fmt"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// Read returns whole batches from the one that contains offset on: at least one when there is any below the bound of
// the isolation, and otherwise no more than maxBytes. An offset outside of [start, end] is OFFSET_OUT_OF_RANGE; the
// result holds the log's offsets even then. Recent batches come out of memory, older ones out of one file.
func (l *Log) Read(offset int64, maxBytes int, isolation Isolation) (ReadResult, error) {
	// The last stable offset first: it never overtakes the high watermark.
	result := ReadResult{LastStable: l.lastSafe.Load()}
	result.HighWatermark = l.high.Load()
	result.LogStart = l.start.Load()
	if offset < result.LogStart || offset > l.end.Load() {
		return result, fmt.Errorf("log: %s: read: offset %d is not in [%d, %d]: %w", l.options.name(), offset,
			result.LogStart, l.end.Load(), kerr.OffsetOutOfRange)
	}
	bound := result.HighWatermark
	if isolation == ReadCommitted {
		bound = result.LastStable
	}
	if offset >= bound {
		l.tail.follow()
		if err := l.Err(); err != nil {
			return result, err
		}
		return result, nil
	}
	for {
		segments := l.segments.Load()
		runs, total, ok := l.tail.read(offset, bound, maxBytes)
		if !ok {
			var err error
			if runs, total, err = l.readFile(offset, bound, maxBytes); err != nil {
				return result, fmt.Errorf("log: %s: read from offset %d: %w", l.options.name(), offset, err)
			}
		}
		result.Batches, result.Bytes = runs, total
		if isolation != ReadCommitted || len(runs) == 0 {
			return result, nil
		}
		result.Aborted = abortedIn(*segments, offset, endOf(runs[len(runs)-1]))
		// Compaction takes the batches of a transaction, its marker and its entry in the index away together. It makes
		// the tail forget them before it changes the list of segments; so both are of the same age if that is
		// unchanged.
		if l.segments.Load() == segments {
			return result, nil
		}
	}
}

// endOf returns the offset after the last batch of a run.
func endOf(run []byte) int64 {
	end := int64(0)
	for len(run) > 0 {
		b, rest, err := batch.Parse(run)
		if err != nil {
			break
		}
		end, run = b.LastOffset()+1, rest
	}
	return end
}

// abortedIn returns the aborted transactions that overlap [from, upper), by first offset.
func abortedIn(segments []*segment, from, upper int64) []Aborted {
	var aborted []Aborted
	done := false
	for _, s := range segments[segmentOf(segments, from):] {
		if aborted, done = s.abortedIn(aborted, from, upper); done {
			break
		}
	}
	sort.Slice(aborted, func(i, j int) bool { return aborted[i].FirstOffset < aborted[j].FirstOffset })
	return aborted
}

// segmentOf returns the number of the last segment that begins at or before offset, 0 if none does.
func segmentOf(segments []*segment, offset int64) int {
	return max(0, sort.Search(len(segments), func(i int) bool { return segments[i].base > offset })-1)
}

// errSegmentGone means that a segment was deleted while a reader was on its way to it.
var errSegmentGone = errors.New("segment deleted meanwhile")

// readFile reads from the segment that holds offset, or the next that holds anything.
func (l *Log) readFile(offset, bound int64, maxBytes int) ([][]byte, int, error) {
	for {
		list := l.segments.Load()
		segments := *list
		for _, s := range segments[segmentOf(segments, offset):] {
			if s.base >= bound {
				return nil, 0, nil
			}
			run, err := s.lookup(offset, bound, maxBytes, l.config.Load().IndexBytes)
			if errors.Is(err, errSegmentGone) {
				break
			}
			if err != nil {
				return nil, 0, err
			}
			if len(run) > 0 {
				return [][]byte{run}, len(run), nil
			}
		}
		if err := l.Err(); err != nil {
			return nil, 0, err
		}
		if offset < l.start.Load() {
			return nil, 0, fmt.Errorf("the log begins at %d by now: %w", l.start.Load(), kerr.OffsetOutOfRange)
		}
		if l.segments.Load() == list { // else one may have been replaced on the way
			return nil, 0, nil
		}
	}
}

// lookup returns a run of whole batches, from the one that contains offset or the first after it, in fresh memory.
func (s *segment) lookup(offset, bound int64, maxBytes, every int) ([]byte, error) {
	if !s.acquire() {
		return nil, errSegmentGone
	}
	defer s.release()
	if err := s.loadIndex(every); err != nil {
		return nil, err
	}
	position, last := s.index.position(s.base, offset)
	run, err := s.read(position, last, offset, bound, maxBytes, every)
	if err == nil || position == 0 || !s.sealed.Load() || s.rebuildIndex(every) != nil {
		return run, err
	}
	// It was the index that was damaged.
	position, last = s.index.position(s.base, offset)
	return s.read(position, last, offset, bound, maxBytes, every)
}

// read is lookup from the position of a batch at or before the one that is wanted. The segment is acquired.
func (s *segment) read(position, last, offset, bound int64, maxBytes, every int) ([]byte, error) {
	size := s.index.upTo(s.base, bound, s.size.Load())
	o := order{dense: !s.sparse.Load(), next: s.base, limit: s.next.Load(), last: last}
	// Batches before the one asked for come along: up to the distance of two index entries.
	want, exact := int64(maxBytes)+int64(every), false
	for position < size {
		n := max(want, batch.HeaderBytes)
		if n >= size-position {
			n = size - position
		} else if end := s.index.within(position, position+n); end > 0 && !exact {
			n = end - position // a batch that would be cut is not read at all
		}
		buf := make([]byte, n)
		if err := s.readAt(buf, position); err != nil {
			return nil, s.damage(offset, position, err)
		}
		skipped, err := o.skip(buf, offset)
		if err != nil {
			return nil, s.damage(offset, position+skipped, err)
		}
		run := buf[skipped:]
		position += skipped
		if startsWhole(run) {
			return s.verified(run, o, offset, position, bound, maxBytes)
		}
		if skipped == 0 {
			// One batch larger than what was asked for.
			whole, ok := batch.SizeOf(run)
			if !ok || position+int64(whole) > size {
				return nil, s.damage(offset, position, batch.ErrCorrupt)
			}
			want, exact = int64(whole), true
		}
	}
	return nil, nil
}

// order checks that batches follow on each other. Their offsets lie outside of their checksums.
type order struct {
	dense bool  // there are no gaps
	next  int64 // the offset after the batch before, or one that is not above the first batch
	last  int64 // the last offset of the first batch by the index; -1: unknown, and next is the first batch's, if dense
	limit int64 // all offsets are below it
}

func (o *order) check(b batch.Batch) error {
	first, last := b.BaseOffset(), b.LastOffset()
	bad := first < o.next || last >= o.limit
	switch {
	case o.last >= 0:
		bad = bad || last != o.last
	case o.dense:
		bad = bad || first != o.next
	}
	if bad {
		return fmt.Errorf("%w: offsets %d to %d, want %d and less than %d",
			batch.ErrCorrupt, first, last, o.next, o.limit)
	}
	o.next, o.last = last+1, -1
	return nil
}

// skip returns the size of the whole batches at the start of buf that end before offset.
func (o *order) skip(buf []byte, offset int64) (int64, error) {
	skipped := 0
	for skipped < len(buf) {
		b, _, err := batch.Parse(buf[skipped:])
		if errors.Is(err, batch.ErrShort) {
			break
		}
		before := *o
		if err == nil {
			err = o.check(b)
		}
		if err != nil {
			return int64(skipped), err
		}
		if b.LastOffset() >= offset {
			*o = before
			break
		}
		skipped += b.Size()
	}
	return int64(skipped), nil
}

// startsWhole tells whether buf begins with a whole batch.
func startsWhole(buf []byte) bool {
	size, ok := batch.SizeOf(buf)
	return ok && size <= len(buf)
}

// verified cuts run to what the reader gets, and checks every checksum of it. Broken batches behind good ones are left
// for the read that begins with them.
func (s *segment) verified(run []byte, o order, offset, position, bound int64, maxBytes int) ([]byte, error) {
	run = run[:fit(run, bound, maxBytes, true)]
	size := 0
	for size < len(run) {
		b, _, err := batch.Parse(run[size:])
		if err == nil {
			err = b.Verify()
		}
		if err == nil {
			err = o.check(b)
		}
		if err != nil {
			if size > 0 {
				break
			}
			return nil, s.damage(offset, position, err)
		}
		size += b.Size()
	}
	return run[:size:size], nil
}

// damage says where the bytes of a file are not what was written. It is no KafkaStorageError, which clients try again,
// since elsewhere another replica would help.
func (s *segment) damage(offset, position int64, err error) error {
	return fmt.Errorf("segment %s is damaged at byte %d, at or after offset %d; restore the file, or delete the "+
		"topic's records up to a later offset: %w: %w", s.path(logSuffix), position, offset, kerr.CorruptMessage, err)
}
