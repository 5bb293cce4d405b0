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
	result := ReadResult{LastStable: l.lastStable.Load()}
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

// errGap means that the records that follow on a segment are in no file.
var errGap = errors.New("the segment ends before the next begins")

// settled calls look with the segments, and calls it again when it came upon one that was replaced or deleted. So
// nobody takes the records of a segment that is being replaced for missing: a segment is closed after another
// list has been published, or the log has failed.
func (l *Log) settled(look func(segments []*segment) error) error {
	for {
		err := look(*l.segments.Load())
		if !errors.Is(err, errSegmentGone) {
			return err
		}
		if err := l.Err(); err != nil {
			return err
		}
	}
}

// readFile reads from the segment that holds offset, or the next that holds anything.
//
// Below the bound it finds nothing only where compaction has left nothing. The bound is older than the list of
// segments, and a segment is in the list before anything of it is readable, so the list has all records below the
// bound. A segment of the list has them until it is closed, even when another has taken its place; and when it is
// closed, settled looks again.
func (l *Log) readFile(offset, bound int64, maxBytes int) (runs [][]byte, size int, err error) {
	err = l.settled(func(segments []*segment) error {
		if start := l.start.Load(); offset < start {
			return fmt.Errorf("the log begins at %d by now: %w", start, kerr.OffsetOutOfRange)
		}
		for _, s := range segments[segmentOf(segments, offset):] {
			if s.base >= bound {
				return nil
			}
			run, err := s.lookup(offset, bound, maxBytes, l.config.Load().IndexBytes)
			if err != nil {
				return err
			}
			if len(run) > 0 {
				runs, size = [][]byte{run}, len(run)
				return nil
			}
			if s.has(offset) {
				return s.damage(offset, s.size.Load(), errGap)
			}
		}
		return nil
	})
	return runs, size, err
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
	e := s.extent(offset, bound)
	run, err := s.read(e, offset, bound, maxBytes, every, false)
	found := err == nil && (len(run) > 0 || !s.has(offset))
	indexed := e.from > 0 || e.to < s.size.Load()
	if !found && indexed && s.sealed.Load() && s.rebuildIndex(every) == nil { // the index was damaged
		e = s.extent(offset, bound)
		run, err = s.read(e, offset, bound, maxBytes, every, false)
	}
	if err != nil {
		return s.read(e, offset, bound, maxBytes, every, true)
	}
	return run, nil
}

// extent is the part of a file in which a read looks, by the index.
type extent struct {
	from int64 // where a batch begins, at or before the one that is wanted
	last int64 // the last offset of that batch; -1 at the start of the file
	to   int64
}

// extent returns where offset is, and what is readable. The index is loaded.
func (s *segment) extent(offset, bound int64) extent {
	e := extent{to: s.size.Load()}
	e.from, e.last = s.index.position(s.base, offset)
	if bound < s.next.Load() {
		e.to = s.index.upTo(s.base, bound, e.to)
	}
	return e
}

// has tells whether offset must be in s: it is not if compaction has left gaps, or if s ends before it.
func (s *segment) has(offset int64) bool { return !s.sparse.Load() && offset < s.next.Load() }

// read is lookup in a part of the file. The segment is acquired. over lets it pass over damage before offset.
func (s *segment) read(e extent, offset, bound int64, maxBytes, every int, over bool) ([]byte, error) {
	position, size := e.from, e.to
	o := order{dense: !s.sparse.Load(), next: s.base, limit: s.next.Load(), last: e.last, over: over}
	// Batches before the one asked for come along: up to the distance of two index entries.
	want, exact := int64(maxBytes)+int64(every), false
	for position < size {
		n := max(want, batch.HeaderBytes)
		if n >= size-position {
			n = size - position
		} else if end := s.index.within(position, position+n); end-position >= batch.HeaderBytes && !exact {
			n = end - position // a batch that would be cut is not read at all
		}
		buf := make([]byte, n)
		if err := s.readAt(buf, position); err != nil {
			if outOfDescriptors(err) {
				return nil, err
			}
			return nil, s.damage(offset, position, err)
		}
		skipped, err := o.skip(buf, offset)
		if err != nil {
			if position, err = s.resume(&o, position+skipped, offset, err); err != nil {
				return nil, err
			}
			continue
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
				if position, err = s.resume(&o, position, offset, batch.ErrCorrupt); err != nil {
					return nil, err
				}
				continue
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
	size  int64 // of the batch that was skipped before, as its header says, which nothing has verified
	over  bool  // damage is passed over: see resume
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
		o.size = int64(b.Size())
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
