package stream_test

import (
	"fmt"
	"log"

	"thalweg/serde"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// The examples use topics of few types: in and out have text, numbers and sums have integers, all by text.

// play builds a program and starts it, in memory.
func play(b *stream.Builder) *streamtest.Driver { return open(b, streamtest.Config{}) }

func open(b *stream.Builder, c streamtest.Config) *streamtest.Driver {
	topo, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	return streamtest.Open(topo, c)
}

// show prints what a topic holds, a line for each record: key=value@timestamp, with ~ for null.
func show[K, V any](d *streamtest.Driver, t stream.Topic[K, V]) {
	for _, r := range d.Output(t).ReadStrings() {
		fmt.Println(r)
	}
}

// Every record is processed at once; Build tells every mistake at once, with its place in the program.
func Example() {
	b := stream.NewBuilder()
	b.Stream(in).
		FlatMapValues(words).
		GroupBy("words", func(_, word string) string { return word }).
		Count(byWord).
		ToStream().
		To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("1", "To be or not to be", 100)
	show(d, counts)
	n, ok := d.Get(byWord, "be")
	fmt.Println(n, ok)
	// Output:
	// to=1@100
	// be=1@100
	// or=1@100
	// not=1@100
	// to=2@100
	// be=2@100
	// 2 true
}

func ExampleBuilder_Build() {
	b := stream.NewBuilder()
	b.Stream(in).
		SelectKey(func(_, v string) string { return v }).
		GroupByKey(). // equal keys have not been brought together
		Count(byWord)
	_, err := b.Build()
	fmt.Println(err != nil)
	// Output:
	// true
}

// A topic's times may come from what its records say.
func ExampleTopic_Timestamps() {
	stamped := in.Timestamps(func(r topology.Record[string, string], _ int64) int64 { return int64(len(r.Value)) })
	b := stream.NewBuilder()
	b.Stream(stamped).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "seven..", 100)
	show(d, out)
	// Output:
	// a=seven..@7
}

// The function also gets the time of the partition so far, which each partition has for itself.
func ExampleTopic_Timestamps_partitionTime() {
	stamped := in.Timestamps(func(_ topology.Record[string, string], partitionTime int64) int64 {
		return partitionTime + 10 // -1 before the first record
	})
	b := stream.NewBuilder()
	b.Stream(stamped).To(out)
	d := open(b, streamtest.Config{Partitions: 2})
	defer d.Close()
	for i, partition := range []int32{0, 0, 1} {
		d.Input(stamped).Append(partition, topology.Record[string, string]{Key: "a", Value: fmt.Sprint("record ", i)})
	}
	d.Run()
	for _, r := range d.Written("out") {
		fmt.Printf("%s@%d\n", r.Value, r.Timestamp)
	}
	// Unordered output:
	// record 0@9
	// record 1@19
	// record 2@9
}

// A serde of the program's own choice: values as JSON, of any type.
func ExampleTopic_Values() {
	quoted := stream.NewTopic[string, string]("quoted").Values(serde.JSON[string]())
	b := stream.NewBuilder()
	b.Stream(in).To(quoted)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	fmt.Printf("%s\n", d.Written("quoted")[0].Value)
	// Output:
	// "water"
}

// Keys whose bytes sort as they do, negative numbers first.
func ExampleTopic_Keys() {
	rooms := stream.NewTopic[int32, string]("rooms").Keys(serde.Ordered[int32]())
	b := stream.NewBuilder()
	b.Stream(in).SelectKey(func(_, v string) int32 { return int32(len(v)) - 10 }).To(rooms)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	fmt.Printf("%x\n", d.Written("rooms")[0].Key)
	// Output:
	// 7ffffffb
}

// The partition that a record is written to, where the hash of its key is not what is wanted.
func ExampleTopic_Partition() {
	b := stream.NewBuilder()
	b.Stream(in).To(out.Partition(func(_, v string, partitions int) int { return len(v) % partitions }))
	d := open(b, streamtest.Config{Partitions: 4})
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	d.Input(in).Send("a", "ice", 2)
	for _, r := range d.Written("out") {
		fmt.Printf("%s in partition %d\n", r.Value, r.Partition)
	}
	// Output:
	// water in partition 1
	// ice in partition 3
}
