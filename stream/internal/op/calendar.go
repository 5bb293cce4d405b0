package op

import (
	"fmt"
	"time"
)

// Calendar cuts time into windows of days or of months, as the clocks of a zone show them. A window begins at the first
// moment at which the clocks show its beginning or anything later. So each moment is in one window, a day that the zone
// skips is in none, and a midnight that comes twice begins its day the first time.
type Calendar struct {
	Zone   *time.Location
	Months bool  // windows of months; otherwise of days
	Count  int64 // so many of them
	First  int64 // a day on which a window of days begins, counted from January 1, 1970
	Offset int64 // when windows begin, in milliseconds by the clock behind midnight; below a day
}

const dayMillis = 24 * 60 * 60 * 1000

// ClockBackMax is how much longer than its days a window can be: no zone has put its clocks back by more since 1970. It
// was at Vostok in 1994; all others stayed within three hours.
const ClockBackMax = 7 * time.Hour

// SizeMax is what no window is longer than.
func (c Calendar) SizeMax() time.Duration {
	days := c.Count
	if c.Months {
		days *= 31
	}
	return time.Duration(days)*24*time.Hour + ClockBackMax
}

// String says which windows these are.
func (c Calendar) String() string {
	unit, count := "day", c.Count
	switch {
	case c.Months:
		unit = "month"
	case c.Count == 7:
		unit, count = "week", 1
	}
	text := fmt.Sprintf("windows of %d %s", count, unit)
	if count > 1 {
		text += "s"
	}
	if unit == "week" {
		text += " from " + time.Weekday((c.First+4)%7).String()
	}
	text += " in " + c.Zone.String()
	if c.Offset != 0 {
		text += fmt.Sprintf(", %v later", time.Duration(c.Offset)*time.Millisecond)
	}
	return text
}

// holding is the window that holds a moment. The first one begins at 0.
func (c *Calendar) holding(ts int64) Span {
	_, offset := time.UnixMilli(ts).In(c.Zone).Zone()
	n := c.number(ts + int64(offset)*1000 - c.Offset)
	end := c.begin(n + 1)
	start := c.begin(n)
	for end <= ts { // the clocks were put back over the beginning of the next one
		n++
		start, end = end, c.begin(n+1)
	}
	return Span{max(start, 0), end}
}

// number is the number of the window that holds what the clocks show, in milliseconds as if it were UTC.
func (c *Calendar) number(shown int64) int64 {
	if !c.Months {
		return floorDiv(floorDiv(shown, dayMillis)-c.First, c.Count)
	}
	year, month, _ := time.UnixMilli(shown).UTC().Date()
	return floorDiv(int64(year)*12+int64(month)-1, c.Count)
}

// begin is the beginning of a window.
func (c *Calendar) begin(number int64) int64 {
	if !c.Months {
		return c.firstShown((c.First+number*c.Count)*dayMillis + c.Offset)
	}
	month := number * c.Count
	date := time.Date(int(floorDiv(month, 12)), time.Month(month-floorDiv(month, 12)*12+1), 1, 0, 0, 0, 0, time.UTC)
	return c.firstShown(date.UnixMilli() + c.Offset)
}

// firstShown is the first moment at which the clocks show that time, or a later one.
func (c *Calendar) firstShown(shown int64) int64 {
	const ahead = 26 * 60 * 60 * 1000 // no zone's clocks are as far ahead of UTC
	for t := time.UnixMilli(shown - ahead).In(c.Zone); ; {
		_, offset := t.Zone()
		at := max(shown-int64(offset)*1000, t.UnixMilli())
		_, end := t.ZoneBounds()
		if end.IsZero() || at < end.UnixMilli() {
			return at
		}
		t = end
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
