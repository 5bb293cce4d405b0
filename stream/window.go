package stream

import (
	"math"
	"time"

	"thalweg/stream/internal/op"
)

// Span is a window's stretch of time, in milliseconds since the epoch. The End of a sliding window or a session belongs
// to it; that of all other windows does not.
type Span = op.Span

// Window says how time is cut into windows. Make one with [Tumbling], [Hopping], [Sliding] or [Unlimited], for a
// calendar with [Days], [Weeks] or [Months], in your own way with [Custom].
type Window struct {
	kind                 windowKind
	size, advance, grace time.Duration
	offset               time.Duration
	calendar             op.Calendar
	own                  WindowAssigner
}

type windowKind uint8

const (
	noWindow windowKind = iota
	hopping
	sliding
	unlimited
	calendar
	custom
)

// Tumbling windows follow each other without gaps. Records up to grace behind the newest are still taken in.
func Tumbling(size, grace time.Duration) Window { return Hopping(size, size, grace) }

// Hopping windows of one size begin each advance, so that a record may be in several: in size / advance, each of which
// is read and written for it. Build refuses more than 10,000.
func Hopping(size, advance, grace time.Duration) Window {
	return Window{kind: hopping, size: size, advance: advance, grace: grace}
}

// Sliding windows hold what lies within difference of each other: there is one that ends at each record, and one that
// begins right behind each record as soon as something is in it. Both ends belong to them.
func Sliding(difference, grace time.Duration) Window {
	return Window{kind: sliding, size: difference, advance: difference, grace: grace}
}

// Unlimited is one window that begins at start and never ends; records before start are left out.
func Unlimited(start time.Time) Window {
	return Window{
		kind: unlimited, size: time.Millisecond, advance: time.Millisecond,
		offset: time.Duration(start.UnixMilli()) * time.Millisecond,
	}
}

// Offset shifts the windows from the epoch, by less than their advance. Those of a calendar begin when the clocks show
// so much behind midnight.
func (w Window) Offset(d time.Duration) Window { w.offset = d; return w }

// sum adds durations of which one may be as long as a duration can be: a grace that never ends.
func sum(durations ...time.Duration) (total time.Duration) {
	for _, d := range durations {
		if d > 0 && total > foreverMax-d {
			return foreverMax
		}
		total += d
	}
	return total
}

// foreverMax is the longest sum of durations. What is added to it in a store or a topic's configuration still fits.
const foreverMax = math.MaxInt64 - 1000*24*time.Hour

// mustBeWhole refuses a duration of which a part would be cut off, since times are counted in milliseconds, where no
// more mistakes than reported have been found.
func (b *Builder) mustBeWhole(reported int, site, method string, durations ...time.Duration) {
	for _, d := range durations {
		if len(b.errs) == reported && d%time.Millisecond != 0 && d < foreverMax {
			b.fail(site, "%s: %v: times are counted in milliseconds: use a whole number of them", method, d)
		}
	}
}

// check reports what is wrong with the window.
func (w Window) check(b *Builder, site string) {
	reported := len(b.errs)
	switch {
	case w.kind == noWindow:
		b.fail(site, "Windowed: make the window with Tumbling, Hopping, Sliding, Unlimited, Days, Weeks, Months or Custom")
	case w.kind == calendar:
		w.checkCalendar(b, site)
	case w.kind == custom:
		w.checkCustom(b, site)
	case w.kind == sliding && w.size < 0:
		b.fail(site, "Windowed: a difference of %v: it must not be negative", w.size)
	case w.kind != sliding && w.size < time.Millisecond:
		b.fail(site, "Windowed: windows of %v: they need a millisecond at least", w.size)
	case w.kind == hopping && w.advance < time.Millisecond:
		b.fail(site, "Windowed: windows begin each %v: a millisecond is the least", w.advance)
	case w.advance > w.size:
		b.fail(site, "Windowed: windows of %v begin each %v: what lies between would be lost", w.size, w.advance)
	case w.offset < 0 || w.kind == hopping && w.offset >= w.advance:
		b.fail(site, "Windowed: an offset of %v: it must not be negative and stay below the advance, %v", w.offset,
			w.advance)
	case w.kind == sliding && w.offset != 0:
		b.fail(site, "Windowed: sliding windows have no offset")
	}
	switch hops := w.hops(); {
	case w.grace < 0:
		b.fail(site, "Windowed: a grace of %v: it must not be negative", w.grace)
	case hops > hopsMax:
		b.fail(site, "Windowed: windows of %v begin each %v: a record would be in %d of them, %d at most are possible: "+
			"let them begin less often", w.size, w.advance, hops, hopsMax)
	}
	b.mustBeWhole(reported, site, "Windowed", w.size, w.advance, w.offset, w.grace)
}

// hopsMax is in how many windows a record may be.
const hopsMax = 10_000

// hops is in how many hopping windows a record may be; 0 for other kinds.
func (w Window) hops() time.Duration {
	if w.kind != hopping || w.advance <= 0 {
		return 0
	}
	return (max(w.size, 0)-1)/w.advance + 1
}

// SessionSpec says what a session is. Make one with [SessionGap].
type SessionSpec struct{ gap, grace time.Duration }

// SessionGap puts records no more than gap apart into one session. Sessions up to grace behind the newest record, and
// the gap, still grow.
func SessionGap(gap, grace time.Duration) SessionSpec { return SessionSpec{gap, grace} }

func (s SessionSpec) check(b *Builder, site string) {
	reported := len(b.errs)
	if s.gap < time.Millisecond {
		b.fail(site, "Sessions: a gap of %v: it needs a millisecond at least", s.gap)
	}
	if s.grace < 0 {
		b.fail(site, "Sessions: a grace of %v: it must not be negative", s.grace)
	}
	b.mustBeWhole(reported, site, "Sessions", s.gap, s.grace)
}
