package op

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"
)

// Windows say how time is cut into windows: aligned ones of one size, of which one begins each Advance; or those of a
// calendar; or the program's own. All times are milliseconds.
type Windows struct {
	Size, Advance, Grace int64
	Offset               int64 // where the first one begins, below Advance
	Unlimited            bool  // one window that begins at Offset and never ends
	Calendar             *Calendar
	Own                  Assigner
}

// Assigner is how a program cuts time itself: see stream.WindowAssigner.
type Assigner interface {
	Assign(timestamp int64) iter.Seq[Span]
	SizeMax() time.Duration
}

// cutter finds windows. It belongs to one instance of a node.
type cutter interface {
	// at returns the windows that hold a time, by their starts. The slice is valid until the next call.
	at(ts int64) ([]Span, error)
	// end is the end of the window that begins at start.
	end(start int64) (int64, error)
	// closing are bounds, inclusive, between which all windows begin that end in (from, to]. Others may, too.
	closing(from, to int64) (first, last int64)
}

// cutter makes the cutter of an instance; closes tells that it is asked which windows close.
func (w Windows) cutter(closes bool) cutter {
	switch {
	case w.Own != nil:
		return newOwnCutter(w.Own, closes)
	case w.Calendar != nil:
		return &calendarCutter{calendar: *w.Calendar}
	}
	return &alignedCutter{w: w}
}

// starts returns a function that finds the starts of the windows that hold a time, or nil where the program cuts time
// itself: its function is called once for each record.
func (w Windows) starts() func(dst []int64, ts int64) []int64 {
	if w.Own != nil {
		return nil
	}
	cut := w.cutter(false)
	return func(dst []int64, ts int64) []int64 {
		spans, err := cut.at(ts)
		if err != nil {
			return dst
		}
		for _, s := range spans {
			dst = append(dst, s.Start)
		}
		return dst
	}
}

type alignedCutter struct {
	w     Windows
	spans []Span // what at returned last
}

func (c *alignedCutter) at(ts int64) ([]Span, error) {
	w := &c.w
	if w.Advance == w.Size && len(c.spans) > 0 && c.spans[0].Start <= ts && ts < c.spans[0].End {
		return c.spans, nil // of windows that do not overlap most records are in the one of the record before
	}
	spans := c.spans[:0]
	if w.Unlimited {
		if w.Offset <= ts {
			spans = append(spans, Span{w.Offset, math.MaxInt64})
		}
		c.spans = spans
		return spans, nil
	}
	// The lowest start above ts-Size on the grid, and never below zero.
	low := max(ts-w.Size+w.Advance-w.Offset, 0)
	for start := low - low%w.Advance + w.Offset; start <= ts; start += w.Advance {
		spans = append(spans, Span{start, start + w.Size})
	}
	c.spans = spans
	return spans, nil
}

func (c *alignedCutter) end(start int64) (int64, error) {
	if c.w.Unlimited {
		return math.MaxInt64, nil
	}
	return start + c.w.Size, nil
}

func (c *alignedCutter) closing(from, to int64) (first, last int64) {
	return from - c.w.Size + 1, to - c.w.Size
}

// calendarCutter remembers the last two windows: most records are in one of them.
type calendarCutter struct {
	calendar    Calendar
	last, other Span
	spans       [1]Span // scratch
}

func (c *calendarCutter) holding(ts int64) Span {
	if ts = max(ts, 0); ts >= c.last.Start && ts < c.last.End {
		return c.last
	}
	c.last, c.other = c.other, c.last
	if ts < c.last.Start || ts >= c.last.End {
		c.last = c.calendar.holding(ts)
	}
	return c.last
}

func (c *calendarCutter) at(ts int64) ([]Span, error) {
	c.spans[0] = c.holding(ts)
	return c.spans[:], nil
}

// end takes any start: where the zone's rules have changed under a store, a window ends with the one that holds its
// start now.
func (c *calendarCutter) end(start int64) (int64, error) { return c.holding(start).End, nil }

func (c *calendarCutter) closing(from, to int64) (first, last int64) {
	if from >= c.last.Start && to < c.last.End {
		return 0, -1 // both are in the window that was used last: nothing ends in between
	}
	return c.holding(from).Start, c.holding(to).Start - 1
}

// ownCutter cuts as the program says, and sees to it that what the program says can be kept: a window's key in the
// store is its start, so a start must have one end.
type ownCutter struct {
	own     Assigner
	sizeMax int64
	ends    map[int64]int64 // by start, of windows that were seen
	open    queue[int64]    // the starts of windows by their ends, where closing is asked for

	closes  bool
	closed  int64  // windows that end up to here are not remembered, but for the last one
	last    Span   // that end was asked for
	spans   []Span // scratch: what at returns
	probed  []Span // scratch
	collect func(Span) bool
	probe   func(Span) bool
}

// ownEndsMax bounds the ends that are remembered where nothing closes.
const ownEndsMax = 4096

func newOwnCutter(own Assigner, closes bool) *ownCutter {
	c := &ownCutter{own: own, sizeMax: own.SizeMax().Milliseconds(), closes: closes, ends: map[int64]int64{}}
	c.collect = func(s Span) bool { c.spans = append(c.spans, s); return true }
	c.probe = func(s Span) bool { c.probed = append(c.probed, s); return true }
	return c
}

func (c *ownCutter) at(ts int64) ([]Span, error) {
	c.spans = c.spans[:0]
	if windows := c.own.Assign(ts); windows != nil {
		windows(c.collect)
	}
	byStart := func(a, b Span) int { return cmp.Compare(a.Start, b.Start) }
	if !slices.IsSortedFunc(c.spans, byStart) {
		slices.SortFunc(c.spans, byStart)
	}
	for i, s := range c.spans {
		if s.Start > ts || s.End <= ts {
			return nil, fmt.Errorf("windows: Assign(%d) yields [%d, %d), which does not hold it", ts, s.Start, s.End)
		}
		end, err := c.end(s.Start)
		if err != nil {
			return nil, err
		}
		if end != s.End || i > 0 && c.spans[i-1].Start == s.Start {
			return nil, fmt.Errorf("windows: Assign(%d) yields [%d, %d) where [%d, %d) begins, too: a start has one end", ts,
				s.Start, s.End, s.Start, end)
		}
	}
	return c.spans, nil
}

func (c *ownCutter) end(start int64) (int64, error) {
	if c.last.End > 0 && c.last.Start == start {
		return c.last.End, nil
	}
	if end, ok := c.ends[start]; ok {
		return end, nil
	}
	if start < 0 {
		return 0, fmt.Errorf("windows: a window begins at %d: the first may begin at 0", start)
	}
	c.probed = c.probed[:0]
	if windows := c.own.Assign(start); windows != nil {
		windows(c.probe)
	}
	c.probed = slices.DeleteFunc(c.probed, func(s Span) bool { return s.Start != start })
	switch {
	case len(c.probed) == 0:
		return 0, fmt.Errorf("windows: Assign(%d) yields no window that begins there, but there is one: a window holds its "+
			"start, and a store that has windows needs a new name when they are cut otherwise", start)
	case len(c.probed) > 1:
		return 0, fmt.Errorf("windows: Assign(%d) yields several windows that begin there: a start has one end", start)
	}
	end := c.probed[0].End
	if size := end - start; size <= 0 || size > c.sizeMax {
		return 0, fmt.Errorf("windows: [%d, %d) is a window of %d ms: it must be 1 to %d, which is SizeMax", start, end, size,
			c.sizeMax)
	}
	c.remember(start, end)
	return end, nil
}

func (c *ownCutter) remember(start, end int64) {
	c.last = Span{start, end}
	switch {
	case !c.closes && len(c.ends) >= ownEndsMax:
		clear(c.ends)
	case c.closes && end <= c.closed:
		return
	case c.closes:
		pushQueue(&c.open, waits[int64]{time: end, key: start})
	}
	c.ends[start] = end
}

func (c *ownCutter) closing(_, to int64) (first, last int64) {
	first, last = 0, -1
	c.closed = to
	for len(c.open) > 0 && c.open[0].time <= to {
		start := popQueue(&c.open).key
		delete(c.ends, start)
		if last < 0 {
			first, last = start, start
		}
		first, last = min(first, start), max(last, start)
	}
	return first, last
}
