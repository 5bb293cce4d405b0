package stream_test

import (
	"fmt"
	"iter"
	"strings"

	"thalweg/stream"
)

func ExampleStream_Filter() {
	b := stream.NewBuilder()
	b.Stream(numbers).Filter(func(_ string, n int64) bool { return n > 2 }).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 2, 0)
	d.Input(numbers).Send("a", 3, 1)
	show(d, sums)
	// Output:
	// a=3@1
}

func ExampleStream_FilterNot() {
	b := stream.NewBuilder()
	b.Stream(numbers).FilterNot(func(_ string, n int64) bool { return n > 2 }).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("a", 2, 0)
	d.Input(numbers).Send("a", 3, 1)
	show(d, sums)
	// Output:
	// a=2@0
}

func ExampleStream_Map() {
	b := stream.NewBuilder()
	b.Stream(in).Map(func(k, v string) (string, string) { return v, k }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("left", "right", 5)
	show(d, out)
	// Output:
	// right=left@5
}

// A null passes functions that only look at values.
func ExampleStream_MapValues() {
	b := stream.NewBuilder()
	b.Stream(in).MapValues(strings.ToUpper).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 0)
	d.Input(in).SendNull("a", 1)
	show(d, out)
	// Output:
	// a=WATER@0
	// a=~@1
}

func ExampleStream_SelectKey() {
	b := stream.NewBuilder()
	b.Stream(in).SelectKey(func(_, v string) string { return v[:1] }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 0)
	show(d, out)
	// Output:
	// w=water@0
}

func ExampleStream_FlatMap() {
	b := stream.NewBuilder()
	b.Stream(in).FlatMap(func(k, v string) iter.Seq2[string, string] {
		return func(yield func(string, string) bool) {
			for word := range strings.FieldsSeq(v) {
				if !yield(word, k) {
					return
				}
			}
		}
	}).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("page 1", "deep water", 0)
	show(d, out)
	// Output:
	// deep=page 1@0
	// water=page 1@0
}

func ExampleStream_FlatMapValues() {
	b := stream.NewBuilder()
	b.Stream(in).FlatMapValues(strings.FieldsSeq).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("page 1", "deep water", 0)
	show(d, out)
	// Output:
	// page 1=deep@0
	// page 1=water@0
}

func ExampleStream_Peek() {
	b := stream.NewBuilder()
	b.Stream(in).Peek(func(k, v string) { fmt.Println("saw", k, v) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 0)
	show(d, out)
	// Output:
	// saw a water
	// a=water@0
}

func ExampleStream_ForEach() {
	b := stream.NewBuilder()
	b.Stream(in).ForEach(func(k, v string) { fmt.Println(k, v) })
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 0)
	// Output:
	// a water
}

func ExampleStream_Merge() {
	b := stream.NewBuilder()
	lake, river := stream.NewTopic[string, string]("lake"), stream.NewTopic[string, string]("river")
	b.Stream(lake).Merge(b.Stream(river)).To(out)
	d := play(b)
	defer d.Close()
	d.Input(lake).Send("a", "still", 0)
	d.Input(river).Send("a", "fast", 1)
	show(d, out)
	// Output:
	// a=still@0
	// a=fast@1
}

// A record goes to the first stream whose predicate holds; the last stream has the rest.
func ExampleStream_Split() {
	b := stream.NewBuilder()
	s := b.Stream(numbers).Split(
		func(_ string, n int64) bool { return n < 10 },
		func(_ string, n int64) bool { return n < 100 },
	)
	s[0].ForEach(func(_ string, n int64) { fmt.Println("small", n) })
	s[1].ForEach(func(_ string, n int64) { fmt.Println("large", n) })
	s[2].ForEach(func(_ string, n int64) { fmt.Println("huge", n) })
	d := play(b)
	defer d.Close()
	for _, n := range []int64{7, 70, 700} {
		d.Input(numbers).Send("a", n, 0)
	}
	// Output:
	// small 7
	// large 70
	// huge 700
}

// Equal keys meet in one task again.
func ExampleStream_Repartition() {
	b := stream.NewBuilder()
	b.Stream(in).
		SelectKey(func(_, v string) string { return v }).
		Repartition("by-value").
		GroupByKey().
		Count(byWord).ToStream().To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("1", "water", 0)
	d.Input(in).Send("2", "water", 1)
	show(d, counts)
	fmt.Println(d.Topics())
	// Output:
	// water=1@0
	// water=2@1
	// [counts in test-by-value-repartition test-by-word-changelog]
}

func ExampleStream_ToDynamic() {
	b := stream.NewBuilder()
	b.Stream(in).ToDynamic(func(k, _ string) string { return "to-" + k })
	d := play(b)
	defer d.Close()
	d.Input(in).Send("lake", "water", 0)
	d.Input(in).Send("sea", "salt", 1)
	show(d, stream.NewTopic[string, string]("to-lake"))
	show(d, stream.NewTopic[string, string]("to-sea"))
	// Output:
	// lake=water@0
	// sea=salt@1
}
