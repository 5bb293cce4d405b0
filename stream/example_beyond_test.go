package stream_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// Calls run side by side, but results keep the order of the records.
func ExampleStream_MapAsync() {
	b := stream.NewBuilder()
	b.Stream(in).MapAsync(4, func(ctx context.Context, k, v string) (string, error) {
		return strings.ToUpper(v), ctx.Err() // a call of another service, say
	}).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "deep", 0)
	d.Input(in).Send("b", "water", 1)
	show(d, out)
	// Output:
	// a=DEEP@0
	// b=WATER@1
}

// The id is the value here: it comes again within a minute, and later.
func ExampleStream_Deduplicate() {
	b := stream.NewBuilder()
	b.Stream(in).Deduplicate(stream.DuplicatesWithin(time.Minute), "seen", func(_, v string) string { return v }).To(out)
	d := play(b)
	defer d.Close()
	for _, ts := range []int64{0, 30_000, 100_000} {
		d.Input(in).Send("a", "payment 7", ts)
	}
	show(d, out)
	// Output:
	// a=payment 7@0
	// a=payment 7@100000
}

// Each time that it comes, it has to stay away for a minute again.
func ExampleDuplicates_Extend() {
	b := stream.NewBuilder()
	b.Stream(in).Deduplicate(stream.DuplicatesWithin(time.Minute).Extend(), "seen",
		func(_, v string) string { return v }).To(out)
	d := play(b)
	defer d.Close()
	for _, ts := range []int64{0, 50_000, 100_000, 170_000} {
		d.Input(in).Send("a", "alarm", ts)
	}
	show(d, out)
	// Output:
	// a=alarm@0
	// a=alarm@170000
}

// By threes, and what is left after a minute of the wall clock.
func ExampleStream_Batch() {
	b := stream.NewBuilder()
	b.Stream(in).Batch(3, time.Minute, "waiting", func(_ string, vs []string) string {
		return strings.Join(vs, ",")
	}).To(out)
	d := play(b)
	defer d.Close()
	for i := range int64(4) {
		d.Input(in).Send("a", fmt.Sprint(i), i)
	}
	d.AdvanceWallClock(2 * time.Minute)
	show(d, out)
	// Output:
	// a=0,1,2@2
	// a=3@3
}

func ExampleGrouped_Top() {
	b := stream.NewBuilder()
	largest := func(x, y int64) int { return cmp.Compare(y, x) }
	b.Stream(numbers).GroupByKey().Top(state.NewKV[string, []int64]("largest"), 2, largest).
		MapValues(func(top []int64) string { return fmt.Sprint(top) }).
		ToStream().To(out)
	d := play(b)
	defer d.Close()
	for _, n := range []int64{3, 9, 5} {
		d.Input(numbers).Send("a", n, 0)
	}
	show(d, out)
	// Output:
	// a=[3]@0
	// a=[9 3]@0
	// a=[9 5]@0
}

// The two richest of each city: when one of them moves, the next one comes up.
func ExampleGroupedTable_Top() {
	type person struct {
		City, Name string
		Wealth     int
	}
	people := stream.NewTopic[string, person]("people").Values(serde.JSON[person]())
	richest := state.NewKV[string, []person]("richest").Values(serde.JSON[[]person]())

	b := stream.NewBuilder()
	b.Table(people, state.NewKV[string, person]("rows").Values(serde.JSON[person]())).
		GroupBy("by-city", func(_ string, p person) (string, person) { return p.City, p }).
		Values(serde.JSON[person]()).
		Top(richest, 2, func(x, y person) int { return cmp.Compare(y.Wealth, x.Wealth) }).
		MapValues(func(top []person) string {
			names := ""
			for _, p := range top {
				names += p.Name + " "
			}
			return names
		}).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(people).Send("1", person{"Oslo", "Anna", 5}, 1)
	d.Input(people).Send("2", person{"Oslo", "Bo", 7}, 2)
	d.Input(people).Send("3", person{"Oslo", "Cleo", 6}, 3)
	d.Input(people).Send("2", person{"Rome", "Bo", 7}, 4)
	show(d, out)
	// Output:
	// Oslo=Anna @1
	// Oslo=Bo Anna @2
	// Oslo=Bo Cleo @3
	// Oslo=Cleo Anna @4
	// Rome=Bo @4
}

func ExampleWindowedGroup_Top() {
	b := stream.NewBuilder()
	largest := func(x, y int64) int { return cmp.Compare(y, x) }
	b.Stream(numbers).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Top(state.NewWindowed[string, []int64]("largest"), 2, largest).
		MapValues(func(top []int64) string { return fmt.Sprint(top) }).
		ToStream(shown).To(out)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 3, 1)
	d.Input(numbers).Send("a", 9, 2)
	d.Input(numbers).Send("a", 5, 12)
	show(d, out)
	// Output:
	// a[0/10]=[3]@1
	// a[0/10]=[9 3]@2
	// a[10/20]=[5]@12
}

// Nobody needs the rows here, so none are kept: changes go on as they come.
func ExampleBuilder_LazyTable() {
	b := stream.NewBuilder()
	b.LazyTable(in, state.NewKV[string, string]("rows")).MapValues(strings.ToUpper).ToStream().To(out)
	d := open(b, streamtest.Config{CommitEvery: -1})
	defer d.Close()
	d.Input(in).Send("a", "first", 1)
	d.Input(in).Send("a", "second", 2)
	d.Commit()
	show(d, out)
	// Output:
	// a=FIRST@1
	// a=SECOND@2
}

// A row that was not changed for a minute, by the time of the records, is deleted.
func ExampleBuilder_Table_timeToLive() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows").TTL(time.Minute)).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "first", 0)
	d.Input(in).Send("b", "later", 100_000)
	show(d, out)
	// Output:
	// a=first@0
	// a=~@60000
	// b=later@100000
}

// A repartition for each of two aggregations becomes one, for both.
func ExampleBuilder_Optimize() {
	b := stream.NewBuilder().Optimize()
	byValue := b.Stream(in).SelectKey(func(_, v string) string { return v })
	byValue.Repartition("first").GroupByKey().Count(state.NewKV[string, int64]("counts")).ToStream().To(counts)
	byValue.Repartition("second").GroupByKey().
		Reduce(state.NewKV[string, string]("last"), func(_, v string) string { return v }).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	show(d, counts)
	show(d, out)
	fmt.Println(d.Topics())
	// Output:
	// water=1@1
	// water=water@1
	// [counts in out test-counts-changelog test-first-repartition test-last-changelog]
}

// What the rules of Optimize do to a topology: the topology before, each step, and the topology after.
func ExampleBuilder_Explain() {
	b := stream.NewBuilder()
	byValue := b.Stream(in).SelectKey(func(_, v string) string { return v })
	byValue.Repartition("first").To(out)
	byValue.Repartition("second").GroupByKey().Count(state.NewKV[string, int64]("counts")).ToStream().To(counts)
	explained, err := b.OptimizeWith(stream.MergeRepartitions).Explain()
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(explained) { // between them are the topologies, as Describe prints them
		if strings.HasPrefix(line, "sub-topology") || strings.HasPrefix(line, "After") {
			fmt.Print(line)
		}
	}
	// Output:
	// sub-topology 0 reads in
	// sub-topology 0 writes first-repartition
	// sub-topology 0 writes second-repartition
	// sub-topology 1 reads first-repartition
	// sub-topology 2 keeps counts (key-value, changelogged)
	// sub-topology 2 reads second-repartition
	// After
	// sub-topology 0 reads in
	// sub-topology 0 writes first-repartition
	// sub-topology 1 keeps counts (key-value, changelogged)
	// sub-topology 1 reads first-repartition
}
