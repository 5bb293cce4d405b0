package op

import "math"

// Always is all of time.
var Always = Span{math.MinInt64, math.MaxInt64}

// includes tells whether a time is in the span, both of whose ends belong to it.
func (s Span) includes(ts int64) bool { return s.Start <= ts && ts <= s.End }

func heldLeft[V, O any](h *Held[V, O]) *[]V  { return &h.Left }
func heldRight[V, O any](h *Held[V, O]) *[]O { return &h.Right }

// unmet makes what leaves, of the held records of one side, those whose bounds do not include a time. It tells whether
// there are some. The list is a new one: the old one may be the store's.
func unmet[H, V any](bounds func(V) Span, of func(*H) *[]V) func(h *H, ts int64) bool {
	return func(h *H, ts int64) bool {
		list := of(h)
		var rest []V
		for _, v := range *list {
			if !bounds(v).includes(ts) {
				rest = append(rest, v)
			}
		}
		*list = rest
		return len(rest) > 0
	}
}
