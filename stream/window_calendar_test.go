package stream_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

func location(name string) *time.Location {
	l, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return l
}

// shifts are windows of the program's own, which overlap and differ in length: from 6 to 14, 14 to 22, 22 to 6, and the
// whole day, of a clock that is UTC's.
type shifts struct{}

const hour = int64(time.Hour / time.Millisecond)

func (shifts) Assign(ts int64) iter.Seq[stream.Span] {
	return func(yield func(stream.Span) bool) {
		day := ts - ts%(24*hour)
		if start := ts - ts%(24*hour); ts-start < 6*hour && start > 0 {
			_ = yield(stream.Span{Start: start - 2*hour, End: start + 6*hour}) &&
				yield(stream.Span{Start: day, End: day + 24*hour})
			return
		}
		if !yield(stream.Span{Start: day, End: day + 24*hour}) {
			return
		}
		for _, from := range []int64{6, 14, 22} {
			if start := day + from*hour; ts >= start && ts < start+8*hour {
				yield(stream.Span{Start: start, End: start + 8*hour})
			}
		}
	}
}

func (shifts) SizeMax() time.Duration { return 24 * time.Hour }

func (shifts) String() string { return "shifts and days" }

// windowsOf is the model: what the clocks show says in which windows a record is.
type windowsOf func(ts int64) []string

func days(zone string, format string) windowsOf {
	l := location(zone)
	return func(ts int64) []string { return []string{time.UnixMilli(ts).In(l).Format(format)} }
}

func shiftsOf(ts int64) []string {
	at := time.UnixMilli(ts).UTC()
	day := at.Format("2006-01-02")
	switch h := at.Hour(); {
	case h < 6:
		return []string{day, at.AddDate(0, 0, -1).Format("2006-01-02") + " night"}
	case h < 14:
		return []string{day, day + " early"}
	case h < 22:
		return []string{day, day + " late"}
	}
	return []string{day, day + " night"}
}

// Random records are counted in the windows and in a map. Which window is closed the model does not know, but from the
// windows of the latest time behind which the grace lies: what is in none of them is closed.
func TestCalendarAndCustomWindowsCountAsAMapDoes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const grace = 5 * time.Hour
	for name, c := range map[string]struct {
		w     stream.Window
		model windowsOf
	}{
		"Berlin":    {stream.Days(1, location("Europe/Berlin"), grace), days("Europe/Berlin", "2006-01-02")},
		"Sao Paulo": {stream.Days(1, location("America/Sao_Paulo"), grace), days("America/Sao_Paulo", "2006-01-02")},
		"months":    {stream.Months(1, location("Asia/Beirut"), grace), days("Asia/Beirut", "2006-01")},
		"weeks": {stream.Weeks(time.Sunday, location("America/Havana"), grace), func(ts int64) []string {
			y, m, d := time.UnixMilli(ts).In(location("America/Havana")).Date()
			day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC) // the day that weeks begin on may have no such hour
			return []string{day.AddDate(0, 0, -int(day.Weekday())).Format("2006-01-02")}
		}},
		"custom": {stream.Custom(shifts{}, grace), shiftsOf},
	} {
		for _, emit := range []stream.Emit{stream.OnUpdate, stream.OnCommit, stream.OnClose} {
			t.Run(fmt.Sprint(name, " ", emit), func(t *testing.T) { countInWindows(t, rnd, c.w, c.model, grace, emit) })
		}
	}
}

func countInWindows(
	t *testing.T, rnd *rand.Rand, w stream.Window, model windowsOf, grace time.Duration, emit stream.Emit,
) {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey().Windowed(w).Emit(emit)
	g.Late().To(others)
	g.Count(state.NewWindowed[string, int64]("counts")).
		ToStream(func(k string, s stream.Span) string {
			labels := model(s.Start)
			slices.SortFunc(labels, func(a, b string) int { return len(a) - len(b) })
			if s.End-s.Start < 9*hour { // a shift: of the custom windows the one with the longer name
				return k + " " + labels[len(labels)-1]
			}
			return k + " " + labels[0]
		}).To(counts)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{CommitEvery: 3})
	want, late := map[string]int64{}, 0
	base := time.Date(2017+rnd.IntN(2), time.Month(1+rnd.IntN(12)), 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	latest, got := int64(0), map[string]int64{}
	for i := range 250 {
		ts := base + rnd.Int64N(20*hour) - 12*hour
		key := string(rune('a' + rnd.IntN(3)))
		base, latest = max(base, ts), max(latest, ts)
		open := model(latest - grace.Milliseconds())
		missed := true
		for _, label := range model(ts) {
			if first(label) >= firstOf(open, label) {
				want[key+" "+label]++
				missed = false
			}
		}
		if missed {
			late++
		}
		d.Input(in).Send(key, "", ts)
		if i == 100 || i == 200 {
			d.Commit()
			d.Restart(streamtest.Keep(rnd.IntN(2)))
		}
	}
	d.Commit()
	for _, r := range d.Output(counts).ReadAll() {
		_, seen := got[r.Key]
		require.False(t, seen && emit == stream.OnClose, "%s is told twice", r.Key)
		got[r.Key] = r.Value
	}
	if emit == stream.OnClose {
		open := model(latest - grace.Milliseconds())
		for k := range want {
			_, label, _ := strings.Cut(k, " ")
			if first(label) >= firstOf(open, label) {
				delete(want, k)
			}
		}
	}
	require.Equal(t, want, got)
	require.Len(t, d.Written(others.Name()), late)
	require.Zero(t, d.Dropped(topology.Expired))
}

// first makes labels of shifts comparable: those of a day come one after the other.
func first(label string) string {
	return strings.NewReplacer(" early", " 1", " late", " 2", " night", " 3").Replace(label)
}

// firstOf is the label of the same kind as the given one.
func firstOf(labels []string, like string) string {
	for _, l := range labels {
		if strings.Contains(l, " ") == strings.Contains(like, " ") {
			return first(l)
		}
	}
	return ""
}

func TestVariableWindowsAreSuppressedAndJoined(t *testing.T) {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey().Windowed(stream.Days(1, location("Europe/Berlin"), time.Hour))
	n := g.Count(state.NewWindowed[string, int64]("n"))
	last := g.Reduce(state.NewWindowed[string, string]("last"), func(_, v string) string { return v })
	n.Join(last, func(n int64, v string) string { return fmt.Sprint(n, v) }).
		Suppress(stream.UntilWindowCloses("held")).
		ToStream(stream.WindowKey).To(stream.NewTopic[stream.WindowedKey[string], string]("joined"))
	topo, err := b.Build()
	require.NoError(t, err)
	require.Contains(t, topo.Fingerprint().String(), "sub-topology 0 cuts n into windows of 1 day in Europe/Berlin\n")
	d := streamtest.New(t, topo, streamtest.Config{})
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, location("Europe/Berlin"))
	d.Input(in).Send("a", "x", at.UnixMilli())
	d.Input(in).Send("a", "y", at.Add(22*time.Hour).UnixMilli())
	d.Restart(streamtest.LoseState)
	d.Input(in).Send("a", "z", at.Add(24*time.Hour).UnixMilli())
	out := d.Output(stream.NewTopic[stream.WindowedKey[string], string]("joined"))
	r := out.Read()
	require.Equal(t, "2y", r.Value)
	require.Equal(t, stream.Span{Start: at.UnixMilli(), End: at.Add(23 * time.Hour).UnixMilli()}, r.Key.Span)
}

func TestVariableWindowsOfACogroup(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Cogroup(plus).With(b.Stream(others).GroupByKey(), plus).
		Windowed(stream.Custom(shifts{}, 0)).
		Aggregate(state.NewWindowed[string, string]("w"), func() string { return "0" }).ToStream(shown).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	require.Contains(t, topo.Fingerprint().String(), "sub-topology 0 cuts w into shifts and days\n")
	d := streamtest.New(t, topo, streamtest.Config{CommitEvery: -1, EmitOnCommit: true})
	d.Input(in).Send("k", "l", 7*hour)
	d.Input(others).Send("k", "r", 8*hour)
	d.Commit()
	require.Equal(t, []string{"k[0/86400000]=0+l+r@28800000", "k[21600000/50400000]=0+l+r@28800000"},
		d.Output(out).ReadStrings())
}

// odd are windows that can't be kept: those of an even time, and those of an odd one.
type odd [2][]stream.Span

func (o odd) Assign(ts int64) iter.Seq[stream.Span] {
	if o[ts&1] == nil {
		return nil
	}
	return slices.Values(o[ts&1])
}

func (odd) SizeMax() time.Duration { return 10 * time.Millisecond }

func TestWindowsThatCantBeKeptFailTheirRecord(t *testing.T) {
	for _, c := range []struct {
		want string
		odd  odd
	}{
		{"Assign(5) yields [0, 5), which does not hold it", odd{1: {{Start: 0, End: 5}}}},
		{"Assign(4) yields several windows that begin there: a start has one end",
			odd{{{Start: 4, End: 8}, {Start: 4, End: 9}}, {{Start: 4, End: 8}}}},
		{"Assign(5) yields [4, 8) where [4, 9) begins, too: a start has one end",
			odd{{{Start: 4, End: 9}}, {{Start: 4, End: 8}}}},
		{"Assign(5) yields [4, 8) where [4, 8) begins, too: a start has one end",
			odd{{{Start: 4, End: 8}}, {{Start: 4, End: 8}, {Start: 4, End: 8}}}},
		{"Assign(4) yields no window that begins there", odd{1: {{Start: 4, End: 8}}}},
		{"[4, 15) is a window of 11 ms: it must be 1 to 10", odd{{{Start: 4, End: 15}}, {{Start: 4, End: 15}}}},
		{"a window begins at -1: the first may begin at 0", odd{1: {{Start: -1, End: 7}}}},
		{"", odd{}}, // a record may be in no window
		{"", odd{{{Start: 4, End: 14}}, {{Start: 5, End: 6}, {Start: 4, End: 14}}}},
	} {
		b := stream.NewBuilder()
		b.Stream(in).GroupByKey().Windowed(stream.Custom(c.odd, 0)).Emit(stream.OnClose).
			Count(state.NewWindowed[string, int64]("w")).ToStream(shown).To(counts)
		topo, err := b.Build()
		require.NoError(t, err)
		d := streamtest.New(t, topo, streamtest.Config{})
		err = d.Input(in).TrySend("k", "", 5)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, "topic in partition 0 offset 0")
	}
}

func TestCalendarsThatCantBeAreRefused(t *testing.T) {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey()
	g.Windowed(stream.Days(1, nil, 0))
	g.Windowed(stream.Months(1, time.Local, 0))
	g.Windowed(stream.Days(0, time.UTC, 0))
	g.Windowed(stream.Weeks(time.Monday, time.UTC, -1))
	g.Windowed(stream.Days(1, time.UTC, 0).Offset(24 * time.Hour))
	g.Windowed(stream.Custom(nil, 0))
	g.Windowed(stream.Custom(shifts{}, 0).Offset(1))
	g.Windowed(stream.Days(1, time.UTC, 0)).Count(state.NewWindowed[string, int64]("a").Retain(time.Hour))
	_, err := b.Build()
	for _, want := range []string{"days of no time zone", "months of time.Local", "windows of 0 days", "a grace of -1ns",
		"an offset of 24h0m0s", "Custom has no assigner", "have no offset",
		`store "a" keeps 1h0m0s, but windows are open for 31h`,
	} {
		require.ErrorContains(t, err, want)
	}
}
