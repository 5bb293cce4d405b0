package log

import (
	"errors"
	"fmt"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// Read returns whole batches from the one that contains offset on: at least one when there is any below the bound of the
// isolation, and otherwise no more than maxBytes. An offset outside of [start, end] is OFFSET_OUT_OF_RANGE; the result
// holds the log's offsets even then. Recent batches come out of memory, older ones out of one file.
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
		if err := l.Err(); err != nil {
			return result, err
		}
		return result, nil
	}
	runs, total, ok := l.tail.read(offset, bound, maxBytes)
	if !ok {
		var err error
		if runs, total, err = l.readFile(offset, bound, maxBytes); err != nil {
			return result, fmt.Errorf("log: %s: read from offset %d: %w", l.options.name(), offset, err)
		}
	}
	result.Batches, result.Bytes = runs, total
	if isolation == ReadCommitted && len(runs) > 0 {
		result.Aborted = l.abortedIn(offset, endOf(runs[len(runs)-1]))
	}
	return result, nil
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
func (l *Log) abortedIn(from, upper int64) []Aborted {
	var aborted []Aborted
	segments := *l.segments.Load()
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
		segments := *l.segments.Load()
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
		if after := *l.segments.Load(); len(after) == len(segments) && after[0] == segments[0] {
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
	position := s.index.position(s.base, offset)
	run, err := s.read(position, offset, bound, maxBytes, every)
	if err == nil || position == 0 || !s.sealed.Load() || s.rebuildIndex(every) != nil {
		return run, err
	}
	// It was the index that was damaged.
	return s.read(s.index.position(s.base, offset), offset, bound, maxBytes, every)
}

// read is lookup from a position at or before the batch. The segment is acquired.
func (s *segment) read(position, offset, bound int64, maxBytes, every int) ([]byte, error) {
	size := s.size.Load()
	// Batches before the one asked for come along: up to the distance of two index entries.
	want := int64(maxBytes) + int64(every)
	for position < size {
		n := min(max(want, batch.HeaderBytes), size-position)
		buf := make([]byte, n)
		if err := s.readAt(buf, position); err != nil {
			return nil, s.damage(offset, position, err)
		}
		skipped, err := s.skip(buf, offset)
		if err != nil {
			return nil, s.damage(offset, position, err)
		}
		if int(skipped) == len(buf) || skipped > 0 && !startsWhole(buf[skipped:]) {
			position += skipped
			continue
		}
		run := buf[skipped:]
		if !startsWhole(run) {
			// One batch larger than what was asked for.
			whole, ok := batch.SizeOf(run)
			if !ok || position+skipped+int64(whole) > size {
				return nil, s.damage(offset, position+skipped, batch.ErrCorrupt)
			}
			position += skipped
			want = int64(whole)
			continue
		}
		return s.verified(run, offset, position+skipped, bound, maxBytes)
	}
	return nil, nil
}

// startsWhole tells whether buf begins with a whole batch.
func startsWhole(buf []byte) bool {
	size, ok := batch.SizeOf(buf)
	return ok && size <= len(buf)
}

// skip returns the size of the whole batches at the start of buf that end before offset.
func (s *segment) skip(buf []byte, offset int64) (int64, error) {
	skipped := 0
	for skipped < len(buf) {
		b, _, err := batch.Parse(buf[skipped:])
		if errors.Is(err, batch.ErrShort) {
			break
		}
		if err != nil {
			return 0, err
		}
		if b.LastOffset() >= offset {
			break
		}
		skipped += b.Size()
	}
	return int64(skipped), nil
}

// verified cuts run to what the reader gets, and checks every checksum of it. Broken batches behind good ones are left
// for the read that begins with them.
func (s *segment) verified(run []byte, offset, position, bound int64, maxBytes int) ([]byte, error) {
	run = run[:fit(run, bound, maxBytes, true)]
	size, end := 0, s.base
	for size < len(run) {
		b, _, err := batch.Parse(run[size:])
		if err == nil {
			err = b.Verify()
		}
		// The offset lies outside of the checksum.
		if err == nil && (b.BaseOffset() < end || b.LastOffset() >= s.next.Load()) {
			err = fmt.Errorf("%w: offset %d is not in [%d, %d)", batch.ErrCorrupt, b.BaseOffset(), end, s.next.Load())
		}
		if err != nil {
			if size > 0 {
				break
			}
			return nil, s.damage(offset, position, err)
		}
		size, end = size+b.Size(), b.LastOffset()+1
	}
	return run[:size:size], nil
}

// damage says where the bytes of a file are not what was written.
func (s *segment) damage(offset, position int64, err error) error {
	return fmt.Errorf("segment %s is damaged at byte %d, at or after offset %d; restore the file, or delete the topic's "+
		"records up to a later offset: %w: %w", s.path(logSuffix), position, offset, kerr.KafkaStorageError, err)
}
