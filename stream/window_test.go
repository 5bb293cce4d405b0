package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

const ms = time.Millisecond

// shown renders windowed keys as "key[start/end]".
func shown(k string, w stream.Span) string { return fmt.Sprintf("%s[%d/%d]", k, w.Start, w.End) }

func plus(_, v, a string) string { return a + "+" + v }

func TestT23ExpiredWindowsAreSkippedOneByOne(t *testing.T) {
	for _, emit := range []stream.Emit{stream.OnUpdate, stream.OnClose} {
		b := stream.NewBuilder()
		g := b.Stream(in).GroupByKey().Windowed(stream.Hopping(10*ms, 5*ms, 90*ms)).Emit(emit)
		g.Late().To(stream.NewTopic[string, string]("late"))
		g.Aggregate(state.NewWindowed[string, string]("w"), func() string { return "" }, plus).ToStream(shown).To(out)
		d := drive(t, b)
		for _, ts := range []int64{100, 0, 1, 2, 3, 4, 5, 6, 105, 106} {
			put(d, in, "k", fmt.Sprint(ts), ts)
		}
		want := []string{"k[95/105]=+100@100", "k[100/110]=+100@100", "k[5/15]=+5@5", "k[5/15]=+5+6@6",
			"k[100/110]=+100+105@105", "k[105/115]=+105@105", "k[100/110]=+100+105+106@106", "k[105/115]=+105+106@106"}
		if emit == stream.OnClose {
			want = []string{"k[5/15]=+5+6@6"}
		}
		require.Equal(t, want, got(d, out))
		require.Equal(t, int64(7), d.dropped(topology.Late))
		require.Equal(t, []string{"k=0@0", "k=1@1", "k=2@2", "k=3@3", "k=4@4"},
			got(d, stream.NewTopic[string, string]("late")), "what is left out of every window")
	}
}

func TestT24WindowsAreToldOfOnceWhenTheyClose(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Hopping(10*ms, 5*ms, 5*ms)).Emit(stream.OnClose).
		Aggregate(state.NewWindowed[string, string]("w"), func() string { return "0" }, plus).ToStream(shown).To(out)
	d := drive(t, b)
	put(d, in, "A", "1", 0)
	put(d, in, "A", "1", 5)
	put(d, in, "B", "2", 10)
	require.Empty(t, got(d, out))
	put(d, in, "C", "3", 15)
	require.Equal(t, []string{"A[0/10]=0+1+1@5"}, got(d, out))
	put(d, in, "D", "4", 20)
	require.Equal(t, []string{"A[5/15]=0+1@5", "B[5/15]=0+2@10"}, got(d, out))
	d.rebuild(b)
	put(d, in, "D", "5", 25)
	require.Equal(t, []string{"B[10/20]=0+2@10", "C[10/20]=0+3@15"}, got(d, out), "after a restart: nothing again")
}

func TestS02FinalResultsAreToldOfBeforeTheyExpire(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*ms, 0)).Emit(stream.OnClose).
		Count(state.NewWindowed[string, int64]("w")).ToStream(shown).To(counts)
	d := drive(t, b)
	put(d, in, "A", "", 1)
	put(d, in, "B", "", 2)
	put(d, in, "A", "", 100_000_000)
	require.Equal(t, []string{"A[0/10]=1@1", "B[0/10]=1@2"}, got(d, counts))
}

func TestT24bWindowsOfATime(t *testing.T) {
	for _, c := range []struct {
		w    stream.Window
		ts   int64
		want string
	}{
		{stream.Hopping(12*ms, 5*ms, 0), 21, "[10/22] [15/27] [20/32]"},
		{stream.Hopping(6*ms, 5*ms, 0), 7, "[5/11]"},
		{stream.Tumbling(12*ms, 0), 21, "[12/24]"},
		{stream.Tumbling(12*ms, 0).Offset(10 * ms), 21, "[10/22]"},
		{stream.Hopping(10*ms, 3*ms, 0).Offset(1 * ms), 5, "[1/11] [4/14]"},
		{stream.Unlimited(time.UnixMilli(5)), 7, "[5/9223372036854775807]"},
		{stream.Unlimited(time.UnixMilli(8)), 7, ""},
	} {
		b := stream.NewBuilder()
		b.Stream(in).GroupByKey().Windowed(c.w).Emit(stream.OnUpdate).
			Count(state.NewWindowed[string, int64]("w")).ToStream(shown).To(counts)
		d := drive(t, b)
		put(d, in, "", "", c.ts)
		var want []string
		for w := range strings.FieldsSeq(c.want) {
			want = append(want, fmt.Sprintf("%s=1@%d", w, c.ts))
		}
		require.ElementsMatch(t, want, got(d, counts))
	}
}

func TestWindowedCountsCountNullValues(t *testing.T) {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*ms, 0))
	g.Count(state.NewWindowed[string, int64]("w")).ToStream(stream.WindowKey).
		To(stream.NewTopic[stream.WindowedKey[string], int64]("counts").Keys(stream.TimeWindowKeys(serde.String{}, 10*ms)))
	g.Reduce(state.NewWindowed[string, string]("r"), func(a, v string) string { return a + v }).ToStream(shown).To(out)
	d := drive(t, b)
	put(d, in, "a", "x", 1)
	del(d, in, "a", 12)
	d.pipe("in", raw{nil, []byte("x"), 13})
	require.Equal(t, []string{"{a {0 10}}=1@1", "{a {10 20}}=1@12"},
		got(d, stream.NewTopic[stream.WindowedKey[string], int64]("counts").
			Keys(stream.TimeWindowKeys(serde.String{}, 10*ms))))
	require.Equal(t, []string{"a[0/10]=x@1"}, got(d, out))
	require.Equal(t, int64(1), d.dropped(topology.NullValue), "a reducer of strings can't see a null")
	require.Equal(t, int64(2), d.dropped(topology.NullKey))
}

func TestT19Sessions(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		gap, grace     time.Duration
		emit           stream.Emit
		late           int64
	}{
		{name: "shouldImmediatelyForwardRemovedSessionsWhenMerging", gap: 5 * ms, grace: 100 * ms, emit: stream.OnUpdate,
			in: "a@0 a@5", want: "a[0/0]=1@0 a[0/0]=∅@0 a[0/5]=2@5"},
		{name: "shouldMergeSessions", gap: 10 * ms, grace: 100 * ms, emit: stream.OnUpdate,
			in:   "a@0 a@11 a@5",
			want: "a[0/0]=1@0 a[11/11]=1@11 a[0/0]=∅@0 a[11/11]=∅@11 a[0/11]=3@11"},
		{name: "shouldUpdateSessionIfTheSameTime", gap: 10 * ms, grace: 100 * ms, emit: stream.OnUpdate,
			in: "a@0 a@0", want: "a[0/0]=1@0 a[0/0]=2@0"},
		{name: "shouldLogAndMeterWhenSkippingLateRecordWithZeroGrace", gap: 10 * ms, emit: stream.OnUpdate,
			in: "a@0 b@11 a@0 b@12", want: "a[0/0]=1@0 b[11/11]=1@11 b[11/11]=∅@11 b[11/12]=2@12", late: 1},
		{name: "NonzeroGrace", gap: 10 * ms, grace: 1 * ms, emit: stream.OnUpdate,
			in: "x@11 a@0 x@12 b@0", want: "x[11/11]=1@11 a[0/0]=1@0 x[11/11]=∅@11 x[11/12]=2@12", late: 1},
		{name: "shouldHandleMultipleSessionsAndMergingEmitFinal", gap: 10 * ms, emit: stream.OnClose,
			in:   "a@0 b@0 c@0 d@0 d@5 a@11 b@11 a@16 c@16",
			want: "a[0/0]=1@0 b[0/0]=1@0 c[0/0]=1@0 d[0/5]=2@5"},
		{name: "SuppressScenarioTest: raw, a record inside a session", gap: 5 * ms, emit: stream.OnUpdate,
			in: "k@0 k@5 k@1", want: "k[0/0]=1@0 k[0/0]=∅@0 k[0/5]=2@5 k[0/5]=∅@5 k[0/5]=3@5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := stream.NewBuilder()
			g := b.Stream(in).GroupByKey().Sessions(stream.SessionGap(c.gap, c.grace)).Emit(c.emit)
			g.Count(state.NewSession[string, int64]("s")).ToStream(shown).To(counts)
			g.Late().To(out)
			d := drive(t, b)
			for r := range strings.FieldsSeq(c.in) {
				var ts int64
				key, at, _ := strings.Cut(r, "@")
				_, err := fmt.Sscan(at, &ts)
				require.NoError(t, err)
				put(d, in, key, "", ts)
			}
			require.Equal(t, c.want, strings.Join(got(d, counts), " "))
			require.Equal(t, c.late, d.dropped(topology.Late))
			require.Len(t, got(d, out), int(c.late))
		})
	}
}

func TestSessionAggregateMergesInOrderOfTime(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Sessions(stream.SessionGap(5*ms, time.Second)).Emit(stream.OnUpdate).
		Aggregate(state.NewSession[string, string]("s"), func() string { return "0" }, plus,
			func(_ string, a, b string) string { return "(" + a + "," + b + ")" }).ToStream(shown).To(out)
	d := drive(t, b)
	put(d, in, "k", "b", 10)
	put(d, in, "k", "a", 0)
	require.Equal(t, []string{"k[10/10]=0+b@10", "k[0/0]=0+a@0"}, got(d, out))
	put(d, in, "k", "x", 5)
	require.Equal(t, []string{"k[0/0]=∅@0", "k[10/10]=∅@10", "k[0/10]=((0,0+a),0+b)+x@10"}, got(d, out))
}

func TestWindowTables(t *testing.T) {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*ms, time.Second))
	n := g.Count(state.NewWindowed[string, int64]("n"))
	n.Filter(func(_ string, _ stream.Span, n int64) bool { return n > 1 }).
		MapValues(func(n int64) string { return fmt.Sprint(n) }).ToStream(shown).To(out)
	last := g.Reduce(state.NewWindowed[string, string]("last"), func(_, v string) string { return v })
	n.Join(last, func(n int64, v string) string { return fmt.Sprint(n, v) }).ToStream(shown).
		To(stream.NewTopic[string, string]("joined"))
	n.GroupBy("by-start", func(k string, w stream.Span, n int64) (string, int64) { return fmt.Sprint(w.Start), n }).
		Reduce(state.NewKV[string, int64]("sum"), func(a, n int64) int64 { return a + n },
			func(a, n int64) int64 { return a - n }).ToStream().To(sums)
	d := drive(t, b)
	put(d, in, "a", "x", 1)
	put(d, in, "a", "y", 2)
	put(d, in, "b", "z", 3)
	put(d, in, "a", "u", 11)
	require.Equal(t, []string{"a[0/10]=2@2"}, got(d, out))
	require.Equal(t, []string{"0=1@1", "0=2@2", "0=3@3", "10=1@11"}, got(d, sums))
	require.Equal(t, []string{"a[0/10]=1x@1", "a[0/10]=1x@1", "a[0/10]=2y@2", "a[0/10]=2y@2", "b[0/10]=1z@3",
		"b[0/10]=1z@3", "a[10/20]=1u@11", "a[10/20]=1u@11"}, got(d, stream.NewTopic[string, string]("joined")))
}

func TestWindowsThatCantBeAreRefused(t *testing.T) {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey()
	g.Windowed(stream.Window{})
	g.Windowed(stream.Tumbling(0, 0))
	g.Windowed(stream.Hopping(ms, 2*ms, 0))
	g.Windowed(stream.Tumbling(ms, -1))
	g.Windowed(stream.Sliding(-ms, 0))
	g.Windowed(stream.Tumbling(ms, 0).Offset(ms))
	g.Sessions(stream.SessionGap(0, 0))
	g.Windowed(stream.Tumbling(10*ms, 10*ms)).Count(state.NewWindowed[string, int64]("a").Retain(15 * ms))
	g.Windowed(stream.Unlimited(time.UnixMilli(0))).Emit(stream.OnClose).Count(state.NewWindowed[string, int64]("b"))
	g.Windowed(stream.Tumbling(10*ms, 0)).Count(state.NewWindowed[string, int64]("d").Retain(20*ms + time.Microsecond))
	g.Windowed(stream.Tumbling(ms, 0)).CloseWhenIdle(time.Second).Count(state.NewWindowed[string, int64]("c"))
	_, err := b.Build()
	for _, want := range []string{"make the window with Tumbling", "windows of 0s", "begin each 2ms", "a grace of -1ns",
		"a difference of -1ms", "an offset of 1ms", "a gap of 0s", `store "a" keeps 15ms, but windows are open for 20ms`,
		`store "d" keeps 20.001ms: times are counted`, "an unlimited window never closes",
		"CloseWhenIdle needs Emit(stream.OnClose)"} {
		require.ErrorContains(t, err, want)
	}
}

func slide(t *testing.T, difference, grace time.Duration, emit stream.Emit, values ...int64) map[string][]string {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Sliding(difference, grace)).Emit(emit).
		Aggregate(state.NewWindowed[string, string]("w"), func() string { return "0" }, plus).ToStream(shown).To(out)
	d := drive(t, b)
	for i, ts := range values {
		put(d, in, "A", fmt.Sprint(i+1), ts)
	}
	byStart := map[string][]string{}
	for _, r := range got(d, out) {
		window, value, _ := strings.Cut(r, "=")
		start, _, _ := strings.Cut(strings.TrimPrefix(window, "A["), "/")
		byStart[start] = append(byStart[start], value)
	}
	return byStart
}

func TestT15SlidingWindows(t *testing.T) {
	updates := map[string][]string{
		"0": {"0+1@10", "0+1+2@10"}, "4": {"0+1+2+3@14"}, "5": {"0+1+2+3+4@15"}, "10": {"0+1+2+3+4+5@20"},
		"11": {"0+3@14", "0+3+4@15", "0+3+4+5@20"}, "12": {"0+3+4+5+6@22"}, "15": {"0+4@15", "0+4+5@20", "0+4+5+6@22"},
		"16": {"0+5@20", "0+5+6@22"}, "20": {"0+5+6+7@30"}, "21": {"0+6@22", "0+6+7@30"}, "23": {"0+7@30"},
	}
	require.Equal(t, updates, slide(t, 10*ms, 5*ms, stream.OnUpdate, 10, 10, 14, 15, 20, 22, 30))
	finals := map[string][]string{}
	for _, start := range []string{"0", "4", "5", "10", "11", "12"} {
		finals[start] = updates[start][len(updates[start])-1:]
	}
	require.Equal(t, finals, slide(t, 10*ms, 5*ms, stream.OnClose, 10, 10, 14, 15, 20, 22, 30))
}

func TestT16EarlySlidingWindows(t *testing.T) {
	require.Equal(t, map[string][]string{
		"0": {"0+1+2+3+4+5+6@13"}, "1": {"0+2+3+4+5+6@13"}, "4": {"0+2+3+5+6@13"}, "6": {"0+3+5+6@13"}, "7": {"0+5+6@13"},
		"11": {"0+5@13"},
	}, slide(t, 50*ms, 0, stream.OnClose, 0, 5, 6, 3, 13, 10, 70))
}

func TestSlidingWindowsDoNotShareAnAggregate(t *testing.T) {
	b := stream.NewBuilder()
	texts := stream.NewTopic[string, map[string]int]("out")
	b.Stream(in).GroupByKey().Windowed(stream.Sliding(10*ms, time.Second)).
		Aggregate(state.NewWindowed[string, map[string]int]("w"), func() map[string]int { return map[string]int{} },
			func(_, v string, m map[string]int) map[string]int { m[v]++; return m }).ToStream(shown).To(texts)
	d := drive(t, b)
	put(d, in, "A", "a", 20)
	put(d, in, "A", "b", 25)
	require.Equal(t, []string{"A[10/20]=map[a:1]@20", "A[21/31]=map[b:1]@25", "A[15/25]=map[a:1 b:1]@25"}, got(d, texts))
}

func TestT31Cogroup(t *testing.T) {
	b := stream.NewBuilder()
	minus := func(_, v, a string) string { return a + "-" + v }
	b.Stream(left).GroupByKey().Cogroup(minus).With(b.Stream(right).GroupByKey(), plus).
		Aggregate(state.NewKV[string, string]("co"), func() string { return "0" }).ToStream().To(out)
	d := drive(t, b)
	steps(t, d, `L k1:1@0 → k1=0-1@0; L k2:1@1 → k2=0-1@1; L k1:1@10 → k1=0-1-1@10; L k2:1@100 → k2=0-1-1@100;
		R k1:2@500 → k1=0-1-1+2@500; R k2:2@500 → k2=0-1-1+2@500; R k1:2@500 → k1=0-1-1+2+2@500;
		R k2:2@100 → k2=0-1-1+2+2@500; L k1:∅@501 →`)
}

func TestWindowedAndSessionCogroups(t *testing.T) {
	b := stream.NewBuilder()
	l, r := b.Stream(left).GroupByKey(), b.Stream(right).GroupByKey()
	zero := func() string { return "0" }
	l.Cogroup(plus).With(r, plus).Windowed(stream.Tumbling(10*ms, time.Second)).Emit(stream.OnUpdate).
		Aggregate(state.NewWindowed[string, string]("w"), zero).ToStream(shown).To(out)
	later := stream.NewTopic[string, string]("later")
	l.Cogroup(plus).With(r, plus).Sessions(stream.SessionGap(5*ms, time.Second)).Emit(stream.OnCommit).
		Aggregate(state.NewSession[string, string]("c"), zero, func(_, a, b string) string { return a + b }).
		ToStream(shown).To(later)
	sessions := stream.NewTopic[string, string]("sessions")
	l.Cogroup(plus).With(r, plus).Emit(stream.OnUpdate).Sessions(stream.SessionGap(5*ms, time.Second)).
		Aggregate(state.NewSession[string, string]("s"), zero, func(_, a, b string) string { return a + b }).
		ToStream(shown).To(sessions)
	d := drive(t, b)
	d.manual = true
	put(d, left, "k", "l", 1)
	put(d, right, "k", "r", 4)
	put(d, right, "k", "s", 12)
	require.Empty(t, got(d, later))
	d.commit()
	require.Equal(t, []string{"k[1/4]=00+l+r@4", "k[12/12]=0+s@12"}, got(d, later))
	require.Equal(t, []string{"k[0/10]=0+l@1", "k[0/10]=0+l+r@4", "k[10/20]=0+s@12"}, got(d, out))
	require.Equal(t, []string{"k[1/1]=0+l@1", "k[1/1]=∅@1", "k[1/4]=00+l+r@4", "k[12/12]=0+s@12"}, got(d, sessions))
}
