package stream_test

import (
	"fmt"
	"iter"
	"time"

	"thalweg/state"
	"thalweg/stream"
)

// perDate counts the records of each window, which it shows by the clocks of a zone.
func perDate(w stream.Window, zone *time.Location, times ...string) {
	const form = "2006-01-02 15:04"
	at := func(ms int64) string { return time.UnixMilli(ms).In(zone).Format(form) }
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(w).Emit(stream.OnUpdate).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(func(_ string, s stream.Span) string {
			return fmt.Sprintf("%s to %s, %d hours", at(s.Start), at(s.End), (s.End-s.Start)/3_600_000)
		}).
		MapValues(func(n int64) string { return fmt.Sprint(n) }).To(out)
	d := play(b)
	defer d.Close()
	for _, t := range times {
		ts, err := time.ParseInLocation(form, t, zone)
		if err != nil {
			panic(err)
		}
		d.Input(in).Send("a", "x", ts.UnixMilli())
	}
	for _, r := range d.Output(out).ReadAll() {
		fmt.Println(r.Key+":", r.Value)
	}
}

// The day on which the clocks are put forward has 23 hours.
func ExampleDays() {
	berlin, _ := time.LoadLocation("Europe/Berlin")
	perDate(stream.Days(1, berlin, time.Hour), berlin, "2026-03-28 23:59", "2026-03-29 00:00", "2026-03-29 23:59")
	// Output:
	// 2026-03-28 00:00 to 2026-03-29 00:00, 24 hours: 1
	// 2026-03-29 00:00 to 2026-03-30 00:00, 23 hours: 1
	// 2026-03-29 00:00 to 2026-03-30 00:00, 23 hours: 2
}

// Days that begin at four in the morning, for those who work at night.
func ExampleDays_offset() {
	berlin, _ := time.LoadLocation("Europe/Berlin")
	perDate(stream.Days(1, berlin, time.Hour).Offset(4*time.Hour), berlin, "2026-10-24 23:00", "2026-10-25 03:59")
	// Output:
	// 2026-10-24 04:00 to 2026-10-25 04:00, 25 hours: 1
	// 2026-10-24 04:00 to 2026-10-25 04:00, 25 hours: 2
}

func ExampleWeeks() {
	perDate(stream.Weeks(time.Monday, time.UTC, time.Hour), time.UTC, "2026-11-29 12:00", "2026-11-30 00:00")
	// Output:
	// 2026-11-23 00:00 to 2026-11-30 00:00, 168 hours: 1
	// 2026-11-30 00:00 to 2026-12-07 00:00, 168 hours: 1
}

// Windows of three months are the quarters.
func ExampleMonths() {
	perDate(stream.Months(3, time.UTC, time.Hour), time.UTC, "2026-01-31 12:00", "2026-03-31 23:59", "2026-04-01 00:00")
	// Output:
	// 2026-01-01 00:00 to 2026-04-01 00:00, 2160 hours: 1
	// 2026-01-01 00:00 to 2026-04-01 00:00, 2160 hours: 2
	// 2026-04-01 00:00 to 2026-07-01 00:00, 2184 hours: 1
}

// halves are a day's halves: a short one until six in the morning, and the rest.
type halves struct{}

func (halves) Assign(ts int64) iter.Seq[stream.Span] {
	const hour = 3_600_000
	day := ts - ts%(24*hour)
	half := stream.Span{Start: day, End: day + 6*hour}
	if ts >= half.End {
		half = stream.Span{Start: half.End, End: day + 24*hour}
	}
	return func(yield func(stream.Span) bool) { yield(half) }
}

func (halves) SizeMax() time.Duration { return 18 * time.Hour }

// Windows of your own: here each time is in one of them.
func ExampleCustom() {
	perDate(stream.Custom(halves{}, time.Hour), time.UTC, "2026-11-29 05:00", "2026-11-29 06:00", "2026-11-29 23:00")
	// Output:
	// 2026-11-29 00:00 to 2026-11-29 06:00, 6 hours: 1
	// 2026-11-29 06:00 to 2026-11-30 00:00, 18 hours: 1
	// 2026-11-29 06:00 to 2026-11-30 00:00, 18 hours: 2
}
