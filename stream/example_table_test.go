package stream_test

import (
	"fmt"
	"strings"
	"time"

	"thalweg/state"
	"thalweg/stream"
)

// A table is what its records say last of each key. A row that goes leaves a null behind.
func ExampleBuilder_Table() {
	rows := state.NewKV[string, string]("rows")
	b := stream.NewBuilder()
	b.Table(in, rows).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "first", 1)
	d.Input(in).Send("a", "second", 2)
	v, ok := d.Get(rows, "a")
	fmt.Println(v, ok)
	d.Input(in).SendNull("a", 3)
	show(d, out)
	// Output:
	// second true
	// a=first@1
	// a=second@2
	// a=~@3
}

func ExampleStream_ToTable() {
	rows := state.NewKV[string, string]("rows")
	b := stream.NewBuilder()
	b.Stream(in).MapValues(strings.ToUpper).ToTable(rows)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	fmt.Println(d.Get(rows, "a"))
	// Output:
	// WATER true
}

// A row that the filter no longer keeps is deleted.
func ExampleTable_Filter() {
	b := stream.NewBuilder()
	b.Table(numbers, state.NewKV[string, int64]("rows")).
		Filter(func(_ string, n int64) bool { return n > 2 }).
		ToStream().To(sums)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 1, 1)
	d.Input(numbers).Send("a", 3, 2)
	d.Input(numbers).Send("a", 2, 3)
	show(d, sums)
	// Output:
	// a=3@2
	// a=~@3
}

func ExampleTable_FilterNot() {
	b := stream.NewBuilder()
	b.Table(numbers, state.NewKV[string, int64]("rows")).
		FilterNot(func(_ string, n int64) bool { return n > 2 }).
		ToStream().To(sums)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 1, 1)
	d.Input(numbers).Send("a", 3, 2)
	show(d, sums)
	// Output:
	// a=1@1
	// a=~@2
}

// What is computed of rows is kept nowhere, unless it is asked for.
func ExampleTable_Materialize() {
	upper := state.NewKV[string, string]("upper")
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).MapValues(strings.ToUpper).Materialize(upper)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	fmt.Println(d.Get(upper, "a"))
	// Output:
	// WATER true
}

// The function is called for rows that go, too.
func ExampleTable_TransformValues() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		TransformValues(func(k string, v *string) string {
			if v == nil {
				return k + " is gone"
			}
			return k + " is " + *v
		}).
		ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "here", 1)
	d.Input(in).SendNull("a", 2)
	show(d, out)
	// Output:
	// a=a is here@1
	// a=a is gone@2
}

// A change that comes late changes history, not the newest row.
func ExampleBuilder_VersionedTable() {
	b := stream.NewBuilder()
	table := b.VersionedTable(others, state.NewVersioned[string, string]("prices", time.Hour))
	b.Stream(in).JoinTable(table, pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("a", "price of 10", 10)
	d.Input(others).Send("a", "price of 5", 5)
	d.Input(in).Send("a", "sale at 12", 12)
	d.Input(in).Send("a", "sale at 7", 7)
	show(d, out)
	// Output:
	// a=sale at 12 with price of 10@12
	// a=sale at 7 with price of 5@7
}

// Of several changes within 10 ms of stream time the last is told.
func ExampleTable_Suppress() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		Suppress(stream.UntilTimeLimit(10*time.Millisecond, "calm")).
		ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "first", 100)
	d.Input(in).Send("a", "second", 105)
	d.Input(in).Send("b", "other", 110)
	show(d, out)
	// Output:
	// a=second@105
}

func ExampleTable_MapValues() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).MapValues(strings.ToUpper).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	d.Input(in).SendNull("a", 2)
	show(d, out)
	// Output:
	// a=WATER@1
	// a=~@2
}

func ExampleStream_ToVersionedTable() {
	b := stream.NewBuilder()
	table := b.Stream(others).MapValues(strings.ToUpper).
		ToVersionedTable(state.NewVersioned[string, string]("rows", time.Hour))
	b.Stream(in).JoinTable(table, pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("a", "row of 5", 5)
	d.Input(others).Send("a", "row of 10", 10)
	d.Input(in).Send("a", "event of 7", 7)
	show(d, out)
	// Output:
	// a=event of 7 with ROW OF 5@7
}

// A buffer of one row: the oldest is emitted early when it is full.
func ExampleSuppression_RecordsMax() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		Suppress(stream.UntilTimeLimit(time.Hour, "calm").RecordsMax(1)).
		ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "first", 100)
	d.Input(in).Send("a", "second", 105)
	d.Input(in).Send("b", "other", 110)
	show(d, out)
	// Output:
	// a=second@105
}

// A table that is read nowhere by key needs no store.
func ExampleStream_ToLazyTable() {
	b := stream.NewBuilder()
	b.Stream(in).ToLazyTable(state.NewKV[string, string]("rows")).MapValues(strings.ToUpper).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	show(d, out)
	// Output:
	// a=WATER@1
}

// What is computed of a table is kept with its past: a late record of a stream meets the row of its time.
func ExampleTable_MaterializeVersioned() {
	b := stream.NewBuilder()
	upper := b.Table(in, state.NewKV[string, string]("rows")).MapValues(strings.ToUpper).
		MaterializeVersioned(state.NewVersioned[string, string]("upper", time.Minute))
	clicks := stream.NewTopic[string, string]("clicks")
	b.Stream(clicks).JoinTable(upper, func(click, row string) string { return click + " " + row }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1000)
	d.Input(in).Send("a", "wine", 2000)
	d.Input(clicks).Send("a", "late", 1500)
	show(d, out)
	// Output:
	// a=late WATER@1500
}

// When the buffer is full, the change that it has held back longest is emitted early.
func ExampleSuppression_BytesMax() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		Suppress(stream.UntilTimeLimit(time.Hour, "calm").BytesMax(50)).
		ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "first", 100)
	d.Input(in).Send("b", "a row that is too long for the two of them", 110)
	show(d, out)
	// Output:
	// a=first@100
	// b=a row that is too long for the two of them@110
}
