package stream

import (
	"reflect"
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
	w.byLeft = setBounds(bounds)
	return w
}

// BoundedByRight is BoundedByLeft with the right record's bounds for the time of the left one.
func (w Within) BoundedByRight[V any](bounds func(V) (from, to time.Time)) Within {
	w.byRight = setBounds(bounds)
	return w
}

func setBounds[V any](f func(V) (from, to time.Time)) any {
	if f == nil {
		return noBounds{}
	}
	return op.BoundsOf(f)
}

// noBounds stands for a function that is nil.
type noBounds struct{}

// mustBound refuses bounds that are not those of the stream's values.
func mustBound(b *Builder, site, method, setting string, bounds any, fits bool, values any) {
	if _, isNil := bounds.(noBounds); isNil {
		b.fail(site, "%s: %s has no function: it is nil", method, setting)
	} else if bounds != nil && !fits {
		b.fail(site, "%s: %s bounds other values than those of the stream, which are %v", method, setting,
			reflect.TypeOf(values).Elem())
	}
}
