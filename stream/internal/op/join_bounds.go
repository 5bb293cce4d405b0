package op

import (
	"math"
	"time"
)

// Bounds are what the records of one side of a join say of the times of those that they meet. The functions are made
// where a program sets bounds, so that a join without them has none.
type Bounds[V any] struct {
	Of    func(V) Span                 // both of whose ends belong to it
	Unmet func(list []V, ts int64) []V // a new list of those whose bounds do not include a time
}

// BoundsOf makes bounds of a function that returns times; a zero time is no bound.
func BoundsOf[V any](f func(V) (from, to time.Time)) *Bounds[V] {
	return &Bounds[V]{
		Of: func(v V) Span { return spanBetween(f(v)) },
		Unmet: func(list []V, ts int64) (rest []V) {
			for _, v := range list {
				if !spanBetween(f(v)).includes(ts) {
					rest = append(rest, v)
				}
			}
			return rest
		},
	}
}

// includes tells whether a time is in the span, both of whose ends belong to it.
func (s Span) includes(ts int64) bool { return s.Start <= ts && ts <= s.End }

// spanBetween are the milliseconds from one time to another, both included.
func spanBetween(from, to time.Time) Span {
	s := Span{math.MinInt64, math.MaxInt64}
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
