package stream

import (
	"fmt"
	"time"

	"thalweg/stream/internal/op"
)

// BoundedByLeft narrows the window for each left record by what it says itself: a right record meets it only where its
// time is not before from and not after to. The zero time is no bound. The window of [Around] stays the widest that
// there can be: buffers keep records for it, and what met nothing is emitted when it is over. The function takes a
// value of the left stream; Build refuses another.
//
// So the bids that come while their auction is open are
//
//	auctions.Join(bids, stream.Around(week, grace).Before(0).BoundedByLeft(Auction.Open), "bids", f)
func (w Within) BoundedByLeft[V any](bounds func(V) (from, to time.Time)) Within {
	w.byLeft = bounds
	return w
}

// BoundedByRight is BoundedByLeft with the right record's bounds for the time of the left one.
func (w Within) BoundedByRight[V any](bounds func(V) (from, to time.Time)) Within {
	w.byRight = bounds
	return w
}

// boundsOf are the bounds of one side's records; nil: there are none.
func boundsOf[V any](b *Builder, site, method, setting string, bounds any) func(V) op.Span {
	if bounds == nil {
		return nil
	}
	f, ok := bounds.(func(V) (from, to time.Time))
	switch {
	case !ok:
		b.fail(site, "%s: %s has a %T, but the values are %s", method, setting, bounds, fmt.Sprintf("%T", *new(V)))
	case f == nil:
		b.fail(site, "%s: %s has no function: it is nil", method, setting)
	}
	return func(v V) op.Span { return spanBetween(f(v)) }
}

// spanBetween are the milliseconds from one time to another, both included.
func spanBetween(from, to time.Time) op.Span {
	s := op.Always
	if !from.IsZero() {
		if s.Start = from.UnixMilli(); from.After(time.UnixMilli(s.Start)) {
			s.Start++
		}
	}
	if !to.IsZero() {
		s.End = to.UnixMilli()
	}
	return s
}
