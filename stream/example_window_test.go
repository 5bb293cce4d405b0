package stream_test

import (
	"fmt"
	"time"

	"thalweg/state"
	"thalweg/stream"
)

// Windows in these examples are rendered by shown: key[start/end].

func perWindow(w stream.Window, times ...int64) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(w).Emit(stream.OnUpdate).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	for _, ts := range times {
		d.Input(in).Send("a", "x", ts)
	}
	show(d, counts)
}

// A record is in one window. Here those of 10 ms, with a grace of 5 ms: the record of time 3 comes too late.
func ExampleTumbling() {
	perWindow(stream.Tumbling(10*time.Millisecond, 5*time.Millisecond), 1, 9, 10, 14, 8, 15, 3)
	// Output:
	// a[0/10]=1@1
	// a[0/10]=2@9
	// a[10/20]=1@10
	// a[10/20]=2@14
	// a[0/10]=3@9
	// a[10/20]=3@15
}

// A record is in several windows: of 10 ms, one each 5 ms.
func ExampleHopping() {
	perWindow(stream.Hopping(10*time.Millisecond, 5*time.Millisecond, 0), 7, 12)
	// Output:
	// a[0/10]=1@7
	// a[5/15]=1@7
	// a[5/15]=2@12
	// a[10/20]=1@12
}

// There is a window for each set of records that lie within 10 ms.
func ExampleSliding() {
	perWindow(stream.Sliding(10*time.Millisecond, 0), 20, 25, 32)
	// Output:
	// a[10/20]=1@20
	// a[21/31]=1@25
	// a[15/25]=2@25
	// a[26/36]=1@32
	// a[22/32]=2@32
}

// What is older than the start is left out.
func ExampleUnlimited() {
	perWindow(stream.Unlimited(time.UnixMilli(10)), 9, 10, 2000)
	// Output:
	// a[10/9223372036854775807]=1@10
	// a[10/9223372036854775807]=2@2000
}

func ExampleWindow_Offset() {
	perWindow(stream.Tumbling(10*time.Millisecond, 0).Offset(3*time.Millisecond), 5, 12, 13)
	// Output:
	// a[3/13]=1@5
	// a[3/13]=2@12
	// a[13/23]=1@13
}

// A session that grows is emitted under its new window, and taken back under its old one.
func ExampleSessionGap() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Sessions(stream.SessionGap(5*time.Millisecond, time.Second)).
		Count(state.NewSession[string, int64]("sessions")).
		ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	for _, ts := range []int64{10, 20, 15} { // the last bridges the two before
		d.Input(in).Send("a", "x", ts)
	}
	show(d, counts)
	// Output:
	// a[10/10]=1@10
	// a[20/20]=1@20
	// a[10/10]=~@10
	// a[20/20]=~@20
	// a[10/20]=3@20
}

// Final results: once, when nothing can come any more.
func ExampleWindowedGroup_Emit() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().
		Windowed(stream.Tumbling(10*time.Millisecond, 5*time.Millisecond)).
		Emit(stream.OnClose).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	for _, ts := range []int64{1, 9, 14, 8, 15} {
		d.Input(in).Send("a", "x", ts)
		fmt.Println(ts, "told:", d.Output(counts).Len())
	}
	show(d, counts)
	// Output:
	// 1 told: 0
	// 9 told: 0
	// 14 told: 0
	// 8 told: 0
	// 15 told: 1
	// a[0/10]=3@9
}

// Windows close by the time of records. When none come, the wall clock can stand in.
func ExampleWindowedGroup_CloseWhenIdle() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().
		Windowed(stream.Tumbling(10*time.Millisecond, 5*time.Millisecond)).
		Emit(stream.OnClose).
		CloseWhenIdle(time.Minute).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	d.AdvanceWallClock(time.Minute) // sees that time stands still
	d.AdvanceWallClock(time.Minute)
	show(d, counts)
	// Output:
	// a[0/10]=1@1
}

// Nothing is lost without a trace.
func ExampleWindowedGroup_Late() {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0))
	g.Count(state.NewWindowed[string, int64]("windows")).ToStream(shown).To(counts)
	g.Late().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "early", 1)
	d.Input(in).Send("a", "newer", 12)
	d.Input(in).Send("a", "late", 2)
	show(d, counts)
	show(d, out)
	// Output:
	// a[0/10]=1@1
	// a[10/20]=1@12
	// a=late@2
}

func ExampleWindowedGroup_Reduce() {
	b := stream.NewBuilder()
	b.Stream(numbers).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Reduce(state.NewWindowed[string, int64]("largest"), func(x, y int64) int64 { return max(x, y) }).
		ToStream(shown).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 3, 1)
	d.Input(numbers).Send("a", 2, 2)
	d.Input(numbers).Send("a", 1, 11)
	show(d, sums)
	// Output:
	// a[0/10]=3@1
	// a[0/10]=3@2
	// a[10/20]=1@11
}

func ExampleWindowedGroup_Aggregate() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Aggregate(state.NewWindowed[string, int64]("letters"),
			func() int64 { return 0 },
			func(_, v string, n int64) int64 { return n + int64(len(v)) }).
		ToStream(shown).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "deep", 1)
	d.Input(in).Send("a", "water", 2)
	show(d, sums)
	// Output:
	// a[0/10]=4@1
	// a[0/10]=9@2
}

func ExampleSessionGroup_Aggregate() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Sessions(stream.SessionGap(5*time.Millisecond, time.Second)).
		Emit(stream.OnClose).
		Aggregate(state.NewSession[string, int64]("letters"),
			func() int64 { return 0 },
			func(_, v string, n int64) int64 { return n + int64(len(v)) },
			func(_ string, x, y int64) int64 { return x + y }). // of sessions that become one
		ToStream(shown).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "deep", 10)
	d.Input(in).Send("a", "water", 20)
	d.Input(in).Send("a", "blue", 15)
	d.Input(in).Send("a", "", 9999)
	show(d, sums)
	// Output:
	// a[10/20]=13@20
}

func ExampleSessionGroup_Late() {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey().Sessions(stream.SessionGap(5*time.Millisecond, 0))
	g.Count(state.NewSession[string, int64]("sessions"))
	g.Late().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "newer", 20)
	d.Input(in).Send("a", "late", 2)
	show(d, out)
	// Output:
	// a=late@2
}

func ExampleCogrouped_Windowed() {
	arrivals, departures := numbers, stream.NewTopic[string, int64]("departures")
	b := stream.NewBuilder()
	b.Stream(arrivals).GroupByKey().
		Cogroup(func(_ string, n, change int64) int64 { return change + n }).
		With(b.Stream(departures).GroupByKey(), func(_ string, n, change int64) int64 { return change - n }).
		Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Aggregate(state.NewWindowed[string, int64]("changes"), func() int64 { return 0 }).
		ToStream(shown).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(arrivals).Send("apples", 10, 1)
	d.Input(departures).Send("apples", 3, 2)
	d.Input(departures).Send("apples", 4, 11)
	show(d, sums)
	// Output:
	// apples[0/10]=10@1
	// apples[0/10]=7@2
	// apples[10/20]=-4@11
}

func ExampleCogrouped_Sessions() {
	arrivals, departures := numbers, stream.NewTopic[string, int64]("departures")
	b := stream.NewBuilder()
	b.Stream(arrivals).GroupByKey().
		Cogroup(func(_ string, n, change int64) int64 { return change + n }).
		With(b.Stream(departures).GroupByKey(), func(_ string, n, change int64) int64 { return change - n }).
		Sessions(stream.SessionGap(5*time.Millisecond, 0)).
		Aggregate(state.NewSession[string, int64]("changes"), func() int64 { return 0 },
			func(_ string, x, y int64) int64 { return x + y }).
		ToStream(shown).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(arrivals).Send("apples", 10, 1)
	d.Input(departures).Send("apples", 3, 2)
	show(d, sums)
	// Output:
	// apples[1/1]=10@1
	// apples[1/1]=~@1
	// apples[1/2]=7@2
}

// A table of windows goes on as a stream, a table of other groups, or a table of other values.
func ExampleWindowTable_GroupBy() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Count(state.NewWindowed[string, int64]("windows")).
		GroupBy("by-window", func(_ string, w stream.Span, n int64) (string, int64) { return fmt.Sprint(w.Start), n }).
		Reduce(state.NewKV[string, int64]("all-keys"),
			func(sum, n int64) int64 { return sum + n },
			func(sum, n int64) int64 { return sum - n }).
		ToStream().To(sums)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	d.Input(in).Send("b", "x", 2)
	d.Input(in).Send("b", "x", 3)
	show(d, sums)
	// Output:
	// 0=1@1
	// 0=2@2
	// 0=3@3
}

func ExampleWindowTable_Filter() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Count(state.NewWindowed[string, int64]("windows")).
		Filter(func(_ string, _ stream.Span, n int64) bool { return n >= 2 }).
		MapValues(func(n int64) string { return fmt.Sprintf("%d times", n) }).
		ToStream(shown).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	d.Input(in).Send("a", "x", 2)
	show(d, out)
	// Output:
	// a[0/10]=2 times@2
}

func ExampleWindowTable_Join() {
	b := stream.NewBuilder()
	w := stream.Tumbling(10*time.Millisecond, 0)
	seen := b.Stream(in).GroupByKey().Windowed(w).Count(state.NewWindowed[string, int64]("seen"))
	bought := b.Stream(numbers).GroupByKey().Windowed(w).Count(state.NewWindowed[string, int64]("bought"))
	seen.Join(bought, func(s, b int64) string { return fmt.Sprintf("%d of %d", b, s) }).ToStream(shown).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	d.Input(in).Send("a", "x", 2)
	d.Input(numbers).Send("a", 1, 3)
	d.Input(in).Send("a", "x", 11)
	show(d, out)
	// Output:
	// a[0/10]=1 of 2@3
}

// Suppress holds back what a table tells until its windows close: for tables that Emit can't be said of.
func ExampleWindowTable_Suppress() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Count(state.NewWindowed[string, int64]("windows")).
		MapValues(func(n int64) int64 { return 100 * n }).
		Suppress(stream.UntilWindowCloses("final")).
		ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	for _, ts := range []int64{1, 2, 3, 11, 20} {
		d.Input(in).Send("a", "x", ts)
	}
	show(d, counts)
	// Output:
	// a[0/10]=300@3
	// a[10/20]=100@11
}

// A window and its key as the key of a topic.
func ExampleWindowKey() {
	windows := stream.NewTopic[stream.WindowedKey[string], int64]("windows")
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Count(state.NewWindowed[string, int64]("counts")).
		ToStream(stream.WindowKey).To(windows)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 12)
	r := d.Output(windows).Read()
	fmt.Println(r.Key.Key, r.Key.Span.Start, r.Key.Span.End, r.Value)
	// Output:
	// a 10 20 1
}

func ExampleWindowedGroup_Count() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Count(state.NewWindowed[string, int64]("windows")).ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	d.Input(in).SendNull("a", 2) // counts too, in windows
	show(d, counts)
	// Output:
	// a[0/10]=1@1
	// a[0/10]=2@2
}

func ExampleSessionGroup_Count() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Sessions(stream.SessionGap(5*time.Millisecond, 0)).
		Count(state.NewSession[string, int64]("sessions")).ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	d.Input(in).Send("a", "x", 6)
	d.Input(in).Send("a", "x", 12)
	show(d, counts)
	// Output:
	// a[1/1]=1@1
	// a[1/1]=~@1
	// a[1/6]=2@6
	// a[12/12]=1@12
}

func ExampleSessionGroup_Reduce() {
	b := stream.NewBuilder()
	b.Stream(numbers).GroupByKey().Sessions(stream.SessionGap(5*time.Millisecond, 0)).
		Reduce(state.NewSession[string, int64]("largest"), func(x, y int64) int64 { return max(x, y) }).
		ToStream(shown).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 3, 1)
	d.Input(numbers).Send("a", 2, 1)
	show(d, sums)
	// Output:
	// a[1/1]=3@1
	// a[1/1]=3@1
}

func ExampleWindowTable_LeftJoin() {
	b := stream.NewBuilder()
	w := stream.Tumbling(10*time.Millisecond, 0)
	seen := b.Stream(in).GroupByKey().Windowed(w).Count(state.NewWindowed[string, int64]("seen"))
	bought := b.Stream(numbers).GroupByKey().Windowed(w).Count(state.NewWindowed[string, int64]("bought"))
	seen.LeftJoin(bought, func(_ int64, b *int64) string { return fmt.Sprint("bought: ", b != nil) }).
		ToStream(shown).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	d.Input(numbers).Send("a", 1, 3)
	show(d, out)
	// Output:
	// a[0/10]=bought: false@1
	// a[0/10]=bought: true@3
}

func ExampleWindowTable_OuterJoin() {
	b := stream.NewBuilder()
	w := stream.Tumbling(10*time.Millisecond, 0)
	seen := b.Stream(in).GroupByKey().Windowed(w).Count(state.NewWindowed[string, int64]("seen"))
	bought := b.Stream(numbers).GroupByKey().Windowed(w).Count(state.NewWindowed[string, int64]("bought"))
	seen.OuterJoin(bought, func(s, b *int64) string { return fmt.Sprint("seen: ", s != nil, ", bought: ", b != nil) }).
		ToStream(shown).To(out)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 1, 1)
	d.Input(in).Send("a", "x", 2)
	show(d, out)
	// Output:
	// a[0/10]=seen: false, bought: true@1
	// a[0/10]=seen: true, bought: true@2
}

// A session closes although nothing comes in, once nothing has come for a minute of the clock.
func ExampleSessionGroup_CloseWhenIdle() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Sessions(stream.SessionGap(5*time.Millisecond, 0)).
		Emit(stream.OnClose).
		CloseWhenIdle(time.Minute).
		Count(state.NewSession[string, int64]("sessions")).
		ToStream(shown).To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 3)
	d.Input(in).Send("a", "y", 5)
	show(d, counts)
	fmt.Println("and then:")
	d.AdvanceWallClock(time.Minute) // sees that time stands still
	d.AdvanceWallClock(time.Minute)
	show(d, counts)
	// Output:
	// and then:
	// a[3/5]=2@5
}
