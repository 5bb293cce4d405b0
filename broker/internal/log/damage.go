package log

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// DamageError says that the bytes of a file are not what was written. It wraps CORRUPT_MESSAGE and no
// KafkaStorageError, which clients try again, since elsewhere another replica would help.
type DamageError struct {
	// Next is the offset from which the log can be read again. There may be nothing yet.
	Next int64
	// Damage says what is damaged, without the advice to delete records, which not all topics permit.
	Damage error
	err    error
}

func (e *DamageError) Error() string { return e.err.Error() }

// Unwrap returns CORRUPT_MESSAGE and the cause.
func (e *DamageError) Unwrap() error { return e.err }

// WithRemedy returns the error with other advice than to restore the file or to delete records.
func (e *DamageError) WithRemedy(remedy string) *DamageError {
	return &DamageError{Next: e.Next, Damage: e.Damage, err: fmt.Errorf("%w; %s", e.Damage, remedy)}
}

// damage reports that a read for offset, which is at most the first one that is lost, found damage at a position.
func (s *segment) damage(offset, position int64, err error) error {
	next := max(s.afterDamage(position).offset, offset+1)
	where := fmt.Sprintf("segment %s is damaged at byte %d, at or after offset %d", s.path(logSuffix), position, offset)
	return &DamageError{
		Next:   next,
		Damage: fmt.Errorf("%s: %w: %w", where, kerr.CorruptMessage, err),
		err: fmt.Errorf("%s; restore the file, or give up what is before offset %d: let readers continue there, or delete "+
			"the topic's records up to it, while its cleanup.policy has delete: %w: %w", where, next, kerr.CorruptMessage, err),
	}
}

// resume returns where a read for offset resumes after damage at position: behind it, if offset is there.
func (s *segment) resume(o *order, position, offset int64, err error) (int64, error) {
	if !o.over {
		return position, s.damage(offset, position, err)
	}
	after := s.afterDamage(position - o.size)
	if after.position < 0 || after.offset > offset {
		return position, s.damage(offset, position, err)
	}
	o.next, o.last, o.size = after.offset, -1, 0
	return after.position, nil
}

// place is where a batch begins.
type place struct {
	position int64 // -1 for the end of the segment
	offset   int64
}

// afterDamage returns the first whole batch behind the damaged one at position: where the damaged header says, or else
// the first bytes that are a batch of this segment. Its checksum is right.
func (s *segment) afterDamage(position int64) place {
	end := place{-1, s.next.Load()}
	if !s.acquire() {
		return end
	}
	defer s.release()
	size := s.size.Load()
	for position+batch.HeaderBytes <= size {
		until := s.index.after(position)
		if until < 0 {
			until = size
		}
		// A batch begins at until, or nothing does. What lies before it is looked at piece by piece.
		piece := min(until, position+scanBytes)
		around := make([]byte, min(piece-position+batch.HeaderBytes, size-position))
		if s.readAt(around, position) != nil {
			return end
		}
		if n, ok := batch.SizeOf(around); ok && position+int64(n) <= until {
			if first, whole := s.wholeAt(position+int64(n), size); whole {
				return place{position + int64(n), first}
			}
		}
		for i := int64(1); i <= piece-position; i++ {
			if batch.MayBegin(around[min(i, int64(len(around))):]) {
				if first, whole := s.wholeAt(position+i, size); whole {
					return place{position + i, first}
				}
			}
		}
		position = piece
	}
	return end
}

// wholeAt tells whether a batch that can be read begins at position, and with which offset.
func (s *segment) wholeAt(position, size int64) (first int64, ok bool) {
	var header [batch.HeaderBytes]byte
	if position+batch.HeaderBytes > size || s.readAt(header[:], position) != nil {
		return 0, false
	}
	n, ok := batch.SizeOf(header[:])
	if !ok || position+int64(n) > size {
		return 0, false
	}
	raw := make([]byte, n)
	if s.readAt(raw, position) != nil {
		return 0, false
	}
	b, _, err := batch.Parse(raw)
	if err != nil || b.Verify() != nil || b.BaseOffset() < s.base || b.LastOffset() >= s.next.Load() {
		return 0, false
	}
	return b.BaseOffset(), true
}
