package stream

import (
	"time"

	"thalweg/stream/internal/op"
)

// Days are windows of n days each, as the clocks of the zone show them: a day in which the clocks are put forward has
// 23 hours, one in which they are put back has 25. Several days are counted from January 1, 1970. Records up to grace
// behind the newest are still taken in.
//
// The zone must be a named one, from [time.LoadLocation], or [time.UTC]: its name is part of the topology's
// fingerprint. What its rules are comes from the process' copy of the time zone database. All processes of an
// application need the same one, which importing time/tzdata gives them: see docs/semantics.md.
func Days(n int, zone *time.Location, grace time.Duration) Window {
	return inZone(op.Calendar{Zone: zone, Count: int64(n)}, grace)
}

// epochDay is the weekday of January 1, 1970.
const epochDay = time.Thursday

// Weeks are windows of seven days, of which the first is of that weekday: see [Days].
func Weeks(first time.Weekday, zone *time.Location, grace time.Duration) Window {
	return inZone(op.Calendar{Zone: zone, Count: 7, First: int64(first - epochDay)}, grace)
}

// Months are windows of n months each: 3 are the quarters, 12 are the years. See [Days].
func Months(n int, zone *time.Location, grace time.Duration) Window {
	return inZone(op.Calendar{Zone: zone, Months: true, Count: int64(n)}, grace)
}

func inZone(c op.Calendar, grace time.Duration) Window {
	return Window{kind: calendar, calendar: c, grace: grace}
}

// checkCalendar reports what is wrong with windows of days or months.
func (w Window) checkCalendar(b *Builder, site string) {
	unit := "days"
	if w.calendar.Months {
		unit = "months"
	}
	switch zone := w.calendar.Zone; {
	case zone == nil:
		b.fail(site, "Windowed: %s of no time zone: name it with time.LoadLocation, or use time.UTC", unit)
	case zone == time.Local:
		b.fail(site, "Windowed: %s of time.Local, which is another zone on another machine: name it with "+
			"time.LoadLocation", unit)
	case zone.String() == "":
		b.fail(site, "Windowed: %s of a time zone without a name: name it with time.LoadLocation or time.FixedZone", unit)
	}
	if first := w.calendar.First + int64(epochDay); first < 0 || first > int64(time.Saturday) {
		b.fail(site, "Windowed: weeks that begin on weekday %d: it takes %d to %d, time.Sunday to time.Saturday", first,
			time.Sunday, time.Saturday)
	}
	if n := w.calendar.Count; n < 1 || n > calendarMax {
		b.fail(site, "Windowed: windows of %d %s: it takes 1 to %d", n, unit, calendarMax)
	}
	if w.offset < 0 || w.offset >= 24*time.Hour {
		b.fail(site, "Windowed: an offset of %v: it must not be negative and stay below a day", w.offset)
	}
}

// calendarMax is the most days or months of a window.
const calendarMax = 10_000
