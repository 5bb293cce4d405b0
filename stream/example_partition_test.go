package stream_test

import (
	"fmt"
	"strings"
	"time"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// Counts of windows, and of those the largest for each key: records stay where they are, so no Repartition is needed.
func ExampleWindowTable_KeyStream() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Count(state.NewWindowed[string, int64]("counts")).
		KeyStream().GroupByKey().
		Reduce(state.NewKV[string, int64]("largest"), func(a, n int64) int64 { return max(a, n) }).
		ToStream().To(counts)
	d := play(b)
	defer d.Close()
	for _, ts := range []int64{1, 2, 3, 11} {
		d.Input(in).Send("a", "x", ts)
	}
	show(d, counts)
	// Output:
	// a=1@1
	// a=2@2
	// a=3@3
	// a=3@11
}

// A Map that leaves the key as it is. That lower case would move records a test finds out.
func ExampleStream_KeepsPartition() {
	count := func(key func(string) string) *streamtest.Driver {
		b := stream.NewBuilder()
		b.Stream(in).Map(func(k, v string) (string, string) { return key(k), v + "!" }).KeepsPartition().
			GroupByKey().Count(byWord).ToStream().To(counts)
		return open(b, streamtest.Config{Partitions: 4})
	}
	d := count(func(k string) string { return k })
	defer d.Close()
	d.Input(in).Send("Anna", "x", 1)
	show(d, counts)

	d = count(strings.ToLower)
	defer d.Close()
	_, why, _ := strings.Cut(d.Input(in).TrySend("Anna", "x", 1).Error(), "KeepsPartition: ")
	fmt.Println(why)
	// Output:
	// Anna=1@1
	// the record of key anna is in partition 2, but its key belongs to partition 3 of 4: put a Repartition in its place
}
