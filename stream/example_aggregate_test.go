package stream_test

import (
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

func ExampleGrouped_Count() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Count(byWord).ToStream().To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 10)
	d.Input(in).Send("a", "y", 5)
	show(d, counts) // a count has the newest time of its records
	// Output:
	// a=1@10
	// a=2@10
}

func ExampleGrouped_Reduce() {
	b := stream.NewBuilder()
	largest := func(x, y int64) int64 { return max(x, y) }
	b.Stream(numbers).GroupByKey().Reduce(state.NewKV[string, int64]("largest"), largest).ToStream().To(sums)
	d := play(b)
	defer d.Close()
	for _, n := range []int64{2, 7, 5} {
		d.Input(numbers).Send("a", n, 0)
	}
	show(d, sums)
	// Output:
	// a=2@0
	// a=7@0
	// a=7@0
}

func ExampleGrouped_Aggregate() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().
		Aggregate(state.NewKV[string, int64]("letters"),
			func() int64 { return 0 },
			func(_, v string, n int64) int64 { return n + int64(len(v)) }).
		ToStream().To(sums)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "deep", 0)
	d.Input(in).Send("a", "water", 1)
	show(d, sums)
	// Output:
	// a=4@0
	// a=9@1
}

// Of several changes between two commits the last is emitted, or each one. In a test, operators without a policy emit
// each one.
func ExampleGrouped_Emit() {
	b := stream.NewBuilder()
	g := b.Stream(in).GroupByKey()
	g.Emit(stream.OnCommit).Count(state.NewKV[string, int64]("on-commit")).ToStream().To(counts)
	g.Emit(stream.OnUpdate).Count(state.NewKV[string, int64]("on-update")).ToStream().To(sums)
	d := open(b, streamtest.Config{CommitEvery: -1})
	defer d.Close()
	d.Input(in).Send("a", "x", 0)
	d.Input(in).Send("a", "y", 0)
	d.Commit()
	show(d, counts)
	show(d, sums)
	// Output:
	// a=2@0
	// a=1@0
	// a=2@0
}

func ExampleStream_GroupBy() {
	b := stream.NewBuilder()
	b.Stream(in).GroupBy("by-value", func(_, v string) string { return v }).Count(byWord).ToStream().To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("1", "water", 0)
	d.Input(in).Send("2", "water", 1)
	show(d, counts)
	// Output:
	// water=1@0
	// water=2@1
}

// One aggregate of two streams: what comes in, and what goes out.
func ExampleGrouped_Cogroup() {
	arrivals, departures := numbers, stream.NewTopic[string, int64]("departures")
	b := stream.NewBuilder()
	b.Stream(arrivals).GroupByKey().
		Cogroup(func(_ string, n, stock int64) int64 { return stock + n }).
		With(b.Stream(departures).GroupByKey(), func(_ string, n, stock int64) int64 { return stock - n }).
		Aggregate(state.NewKV[string, int64]("stock"), func() int64 { return 0 }).
		ToStream().To(sums)
	d := play(b)
	defer d.Close()
	d.Input(arrivals).Send("apples", 10, 0)
	d.Input(departures).Send("apples", 3, 1)
	show(d, sums)
	// Output:
	// apples=10@0
	// apples=7@1
}

// Of each person the town: how many live in each, also when somebody moves.
func ExampleGroupedTable_Count() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("towns")).
		GroupBy("by-town", func(name, town string) (string, string) { return town, name }).
		Count(byWord).ToStream().To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("anna", "Oslo", 0)
	d.Input(in).Send("bo", "Oslo", 1)
	d.Input(in).Send("anna", "Bergen", 2)
	show(d, counts)
	// Output:
	// Oslo=1@0
	// Oslo=2@1
	// Oslo=1@2
	// Bergen=1@2
}

func ExampleGroupedTable_Reduce() {
	b := stream.NewBuilder()
	b.Table(numbers, state.NewKV[string, int64]("points")).
		GroupBy("by-team", func(name string, points int64) (string, int64) { return name[:1], points }).
		Reduce(state.NewKV[string, int64]("team"),
			func(sum, points int64) int64 { return sum + points },
			func(sum, points int64) int64 { return sum - points }).
		ToStream().To(sums)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a1", 10, 0)
	d.Input(numbers).Send("a2", 20, 1)
	d.Input(numbers).Send("a1", 15, 2) // 10 goes out, 15 comes in
	show(d, sums)
	// Output:
	// a=10@0
	// a=30@1
	// a=35@2
}

func ExampleGroupedTable_Aggregate() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		GroupBy("by-letter", func(k, v string) (string, string) { return k[:1], v }).
		Aggregate(state.NewKV[string, int64]("letters"),
			func() int64 { return 0 },
			func(_, v string, n int64) int64 { return n + int64(len(v)) },
			func(_, v string, n int64) int64 { return n - int64(len(v)) }).
		ToStream().To(sums)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a1", "water", 0)
	d.Input(in).Send("a2", "ice", 1)
	d.Input(in).SendNull("a1", 2)
	show(d, sums)
	// Output:
	// a=5@0
	// a=8@1
	// a=3@2
}
