package kclient

import (
	"cmp"
	"fmt"
	"slices"

	"thalweg/internal/batch"
)

// abortFilter leaves out the batches of aborted transactions. A transaction is in the list by its first offset in
// the partition, and ends with its producer's next abort marker.
type abortFilter struct {
	starts []abortedTxn   // still to begin, by first offset
	open   map[int64]bool // producers whose batches are void
}

func newAbortFilter(aborted []abortedTxn) *abortFilter {
	slices.SortFunc(aborted, func(a, b abortedTxn) int { return cmp.Compare(a.firstOffset, b.firstOffset) })
	return &abortFilter{starts: aborted}
}

func (f *abortFilter) keep(b batch.Batch) (bool, error) {
	for len(f.starts) > 0 && f.starts[0].firstOffset <= b.LastOffset() {
		if f.open == nil {
			f.open = make(map[int64]bool)
		}
		f.open[f.starts[0].producerID] = true
		f.starts = f.starts[1:]
	}
	if b.IsControl() {
		kind, _, err := b.Control()
		if err != nil {
			return false, err
		}
		if kind == batch.Abort {
			delete(f.open, b.ProducerID())
		}
		return true, nil
	}
	return !b.IsTransactional() || !f.open[b.ProducerID()], nil
}

// corruptError is a batch that came broken. It may have been broken on its way, so a fetch tries again.
type corruptError struct {
	TopicPartition
	offset int64
	next   int64 // where to go on, 0: unknown
	err    error
}

func (e *corruptError) Error() string {
	return fmt.Sprintf("%s: batch at offset %d: %v; the broker's log may be damaged", e.TopicPartition, e.offset, e.err)
}

func (e *corruptError) Unwrap() error { return e.err }
