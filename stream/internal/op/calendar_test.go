package op

import (
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"
)

// calendarZones are zones of all kinds: without changes, with changes at midnight forward (Sao Paulo, Beirut, Havana)
// and back over midnight (St. John's), by half an hour (Lord Howe), by two hours (Troll), by a day (Apia), and by
// minutes.
var calendarZones = []string{"UTC", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "America/St_Johns",
	"Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu",
	"Africa/Cairo", "Pacific/Kwajalein", "Africa/Monrovia", "Antarctica/Casey",
	"Antarctica/Vostok"}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	require.NoError(t, err)
	return z
}

// aChange is the time of one of the zone's changes between two years, at random, or any time where there is none.
func aChange(rnd *rand.Rand, z *time.Location) time.Time {
	from := time.Date(1970+rnd.IntN(70), time.Month(1+rnd.IntN(12)), 1+rnd.IntN(28), 0, 0, 0, 0, time.UTC).In(z)
	if _, at := from.ZoneBounds(); !at.IsZero() && at.Year() < 2100 {
		return at
	}
	return from
}

// label says which window what the clocks show is in, so that labels of later windows are greater.
func label(c Calendar, shown time.Time) string {
	shown = time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), shown.Second(),
		shown.Nanosecond(), time.UTC).Add(-time.Duration(c.Offset) * time.Millisecond)
	if c.Months {
		month := (shown.Year()*12 + int(shown.Month()) - 1) / int(c.Count)
		return time.Date(0, time.Month(month*int(c.Count)+1), 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	}
	day := time.Date(shown.Year(), shown.Month(), shown.Day(), 0, 0, 0, 0, time.UTC)
	for (day.Unix()/86400-c.First)%c.Count != 0 {
		day = day.AddDate(0, 0, -1)
	}
	return day.Format("2006-01-02")
}

// The model walks through time minute by minute and asks the clocks for the date: a window is where the latest date
// that they have shown is the same.
func TestCalendarIsWhatTheClocksShow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, name := range calendarZones {
		z := zone(t, name)
		for range 3 {
			c := Calendar{Zone: z, Count: 1 + rnd.Int64N(2), Offset: rnd.Int64N(3) * 45 * 60_000}
			if c.Count == 2 {
				c.Count, c.First = 7, -rnd.Int64N(7)
			}
			checkCalendar(t, c, aChange(rnd, z), 3*24*60, time.Minute)
			c = Calendar{Zone: z, Months: true, Count: 1 + rnd.Int64N(4), Offset: c.Offset}
			checkCalendar(t, c, aChange(rnd, z).AddDate(0, 0, -20), 45*24*4, 15*time.Minute)
		}
	}
}

func checkCalendar(t *testing.T, c Calendar, around time.Time, steps int, step time.Duration) {
	t.Helper()
	at := around.Add(-time.Duration(steps/2) * step).Truncate(step).In(c.Zone)
	latest, last := "", Span{}
	for range steps {
		if at.UnixMilli() >= 0 {
			got, shown := c.holding(at.UnixMilli()), max(latest, label(c, at))
			wrong := ""
			switch {
			case got.Start > at.UnixMilli() || at.UnixMilli() >= got.End:
				wrong = "is not in its window"
			case time.Duration(got.End-got.Start)*time.Millisecond > c.SizeMax():
				wrong = "is in a window that is too long"
			case last == Span{}:
			case shown == latest && got != last, shown != latest && got.Start != last.End:
				wrong = "is in the wrong window"
			}
			if wrong != "" {
				t.Fatalf("%v: %v %s: the model says %s after %s, the windows are %v after %v", c, at, wrong, shown, latest,
					got, last)
			}
			latest, last = shown, got
		}
		at = at.Add(step)
	}
}

func TestDaysWithAChange(t *testing.T) {
	for _, c := range []struct {
		zone, noon string
		start      string
		hours      float64
	}{
		{"Europe/Berlin", "2026-03-29T12:00:00+02:00", "2026-03-29T00:00:00+01:00", 23},
		{"Europe/Berlin", "2026-10-25T12:00:00+01:00", "2026-10-25T00:00:00+02:00", 25},
		{"America/Sao_Paulo", "2017-10-15T12:00:00-02:00", "2017-10-15T01:00:00-02:00", 23}, // no midnight
		{"America/Sao_Paulo", "2018-02-17T12:00:00-02:00", "2018-02-17T00:00:00-02:00", 25}, // an hour before midnight twice
		{"Asia/Beirut", "2022-03-27T12:00:00+03:00", "2022-03-27T01:00:00+03:00", 23},
		{"America/St_Johns", "2010-11-07T12:00:00-03:30", "2010-11-07T00:00:00-02:30", 25}, // midnight twice
		{"Pacific/Apia", "2011-12-31T12:00:00+14:00", "2011-12-31T00:00:00+14:00", 24},     // after a day that was not
		{"Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-29T00:00:00-10:00", 24},
		{"Australia/Lord_Howe", "2026-04-05T12:00:00+10:30", "2026-04-05T00:00:00+11:00", 24.5},
		{"Antarctica/Troll", "2026-10-25T12:00:00+00:00", "2026-10-25T00:00:00+02:00", 26},
	} {
		noon, err := time.Parse(time.RFC3339, c.noon)
		require.NoError(t, err)
		day := Calendar{Zone: zone(t, c.zone), Count: 1}
		got := day.holding(noon.UnixMilli())
		require.Equal(t, c.start, time.UnixMilli(got.Start).In(day.Zone).Format(time.RFC3339), c.noon)
		require.Equal(t, c.hours, time.Duration(got.End-got.Start).Hours()*1e6, c.noon)
	}
}

// No zone has put back its clocks by more than is said: the size of the longest window follows from it.
func TestClocksArePutBackByLittle(t *testing.T) {
	for _, name := range calendarZones {
		z := zone(t, name)
		for at := time.Unix(0, 0).In(z); at.Year() < 2040; {
			_, before := at.Zone()
			_, next := at.ZoneBounds()
			if next.IsZero() {
				break
			}
			_, after := next.Zone()
			require.LessOrEqual(t, time.Duration(before-after)*time.Second, ClockBackMax, "%s at %v", name, next)
			at = next
		}
	}
}

func TestCalendarNames(t *testing.T) {
	for want, c := range map[string]Calendar{
		"windows of 1 day in UTC":                             {Zone: time.UTC, Count: 1},
		"windows of 3 days in UTC, 6h0m0s later":              {Zone: time.UTC, Count: 3, Offset: 6 * 3600_000},
		"windows of 1 week from Monday in UTC":                {Zone: time.UTC, Count: 7, First: -3},
		"windows of 1 week from Sunday in UTC":                {Zone: time.UTC, Count: 7, First: -4},
		"windows of 12 months in America/Sao_Paulo":           {Zone: zone(t, "America/Sao_Paulo"), Months: true, Count: 12},
		"windows of 1 month in Pacific/Apia":                  {Zone: zone(t, "Pacific/Apia"), Months: true, Count: 1},
		"windows of 1 week from Thursday in Asia/Ho_Chi_Minh": {Zone: zone(t, "Asia/Ho_Chi_Minh"), Count: 7},
	} {
		require.Equal(t, want, c.String())
	}
}

// What is looked up is remembered, and nothing is allocated.
func TestCalendarCutterAllocatesNothing(t *testing.T) {
	w := Windows{Calendar: &Calendar{Zone: zone(t, "Europe/Berlin"), Count: 1}}
	c := w.cutter(true)
	var ts int64
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		ts += 7 * 3600_000
		_, err := c.at(ts)
		c.closing(ts-40*3600_000, ts-30*3600_000)
		if err != nil {
			t.Fatal(err)
		}
	}))
}
