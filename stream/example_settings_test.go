package stream_test

import (
	"fmt"
	"strings"
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// names prints the names of all nodes.
func names(b *stream.Builder) {
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	for _, n := range topo.Nodes() {
		fmt.Println(n.Name)
	}
}

// Metrics, drawings and error texts have the name; what hangs on it is named after it.
func ExampleStream_Named() {
	b := stream.NewBuilder()
	lines := b.Stream(in).Named("lines")
	lines.Filter(func(_, v string) bool { return v != "" }).To(out)
	lines.MapValues(strings.ToUpper).Named("shouting").To(out)
	names(b)
	// Output:
	// lines
	// lines.filter
	// lines.filter.sink-out
	// shouting
	// shouting.sink-out
}

func ExampleSink_Named() {
	b := stream.NewBuilder()
	b.Stream(in).To(out).Named("results")
	names(b)
	// Output:
	// source-in
	// results
}

func ExampleTable_Named() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).Named("towns").
		Filter(func(_, v string) bool { return v != "" }).ToStream().To(out).Named("results")
	names(b)
	// Output:
	// source-in
	// towns
	// towns.filter
	// towns.filter.to-stream
	// results
}

func ExampleWindowTable_Named() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(time.Minute, 0)).
		Count(state.NewWindowed[string, int64]("per-minute")).Named("rates").ToStream(stream.WindowKey)
	names(b)
	// Output:
	// source-in
	// rates
	// rates.to-stream
}

func ExampleGlobalTable_Named() {
	b := stream.NewBuilder()
	b.GlobalTable(in, state.NewKV[string, string]("rows")).Named("towns")
	names(b)
	// Output:
	// source-in-rows
	// towns
}

// A repartition has several nodes; the topic keeps its name.
func ExampleGrouped_Named() {
	b := stream.NewBuilder()
	b.Stream(in).GroupBy("words", func(_, v string) string { return v }).Named("by-word").Count(byWord)
	names(b)
	// Output:
	// source-in
	// by-word-key
	// by-word-sink
	// by-word
	// count-by-word
}

func ExampleGroupedTable_Named() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		GroupBy("towns", func(k, v string) (string, string) { return v, k }).Named("by-town").
		Count(byWord).Named("people")
	names(b)
	// Output:
	// source-in
	// table-rows
	// by-town-key
	// by-town-sink
	// by-town
	// people
}

// partitions prints the number of partitions that a program asks for, by topic.
func partitions(b *stream.Builder) {
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	for _, s := range topo.Subtopologies() {
		for _, t := range s.Inputs {
			if t.Repartition {
				fmt.Println(t, t.Partitions)
			}
		}
	}
}

func ExampleStream_Partitions() {
	b := stream.NewBuilder()
	b.Stream(in).Repartition("spread").Partitions(12).To(out)
	partitions(b)
	// Output:
	// spread-repartition 12
}

func ExampleGrouped_Partitions() {
	b := stream.NewBuilder()
	b.Stream(in).GroupBy("words", func(_, v string) string { return v }).Partitions(12).Count(byWord)
	partitions(b)
	// Output:
	// words-repartition 12
}

func ExampleGroupedTable_Partitions() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		GroupBy("towns", func(k, v string) (string, string) { return v, k }).Partitions(12).Count(byWord)
	partitions(b)
	// Output:
	// towns-repartition 12
}

// quoted and reversed are serdes that show in the bytes.
func quoted() serde.Serde[string] { return serde.JSON[string]() }
func integer() serde.Serde[int64] { return serde.JSON[int64]() }

// written prints the records of a topic as bytes.
func written(d *streamtest.Driver, topic string) {
	for _, r := range d.Written(topic) {
		fmt.Printf("%s=%s\n", r.Key, r.Value)
	}
}

// The serdes hold for the topics and buffers of the application's own behind them.
func ExampleStream_Values() {
	b := stream.NewBuilder()
	b.Stream(in).MapValues(func(v string) int64 { return int64(len(v)) }).Values(integer()).
		Repartition("lengths").ForEach(func(string, int64) {})
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	written(d, "test-lengths-repartition")
	// Output:
	// a=5
}

func ExampleStream_Keys() {
	b := stream.NewBuilder()
	b.Stream(in).SelectKey(func(_, v string) int64 { return int64(len(v)) }).
		Repartition("by-length").Keys(integer()).ForEach(func(int64, string) {})
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	written(d, "test-by-length-repartition")
	// Output:
	// 5=water
}

func ExampleGrouped_Keys() {
	b := stream.NewBuilder()
	b.Stream(in).GroupBy("by-length", func(_, v string) int64 { return int64(len(v)) }).
		Keys(integer()).Values(quoted()).Count(state.NewKV[int64, int64]("lengths"))
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	written(d, "test-by-length-repartition")
	// Output:
	// 5="water"
}

// The topic of a table's groups holds changes: the last byte says that this one is of a new row.
func ExampleGroupedTable_Values() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("rows")).
		GroupBy("by-length", func(k, v string) (int64, string) { return int64(len(v)), k }).
		Keys(integer()).Values(quoted()).Count(state.NewKV[int64, int64]("lengths"))
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	r := d.Written("test-by-length-repartition")[0]
	fmt.Printf("%s=%q\n", r.Key, r.Value)
	// Output:
	// 5="\"a\"\x01"
}

// A join by foreign key sends keys and rows over topics of its own.
func ExampleTable_Values() {
	b := stream.NewBuilder()
	people := b.Table(in, state.NewKV[string, string]("people"))
	towns := b.Table(others, state.NewKV[string, string]("towns"))
	town := func(_, town string) (string, bool) { return town, true }
	people.Keys(quoted()).JoinForeign(towns.Values(quoted()), town, "home", func(_, t string) string { return t }).
		ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("ulm", "on the Danube", 1)
	d.Input(in).Send("anna", "ulm", 2)
	show(d, out)
	answer := d.Written("test-home-subscription-response-repartition")[0]
	fmt.Println(string(answer.Key), strings.HasSuffix(string(answer.Value), `"on the Danube"`))
	// Output:
	// anna=on the Danube@2
	// "anna" true
}

// Each record goes to the topic that it names, encoded as the program says.
func ExampleDynamicSink_Values() {
	b := stream.NewBuilder()
	b.Stream(in).ToDynamic(func(_, v string) string { return "by-" + v[:1] }).Keys(quoted()).Values(quoted()).
		Named("letters")
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	written(d, "by-w")
	// Output:
	// "a"="water"
}

// Tombstones are left out where nobody wants them, and not counted as dropped.
func ExampleStream_DropNulls() {
	b := stream.NewBuilder()
	b.Stream(in).DropNulls().Named("present").To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	d.Input(in).SendNull("a", 2)
	show(d, out)
	fmt.Println(d.DroppedTotal())
	// Output:
	// a=water@1
	// 0
}

// Of several changes between two commits a table emits the last, or each one.
func ExampleTable_Emit() {
	b := stream.NewBuilder()
	b.Table(in, state.NewKV[string, string]("last")).Emit(stream.OnCommit).ToStream().To(out)
	b.Table(others, state.NewKV[string, string]("each")).Emit(stream.OnUpdate).ToStream().To(out)
	d := open(b, streamtest.Config{CommitEvery: -1})
	defer d.Close()
	for i, v := range []string{"ice", "water"} {
		d.Input(in).Send("a", v, int64(i))
		d.Input(others).Send("b", v, int64(i))
	}
	d.Commit()
	show(d, out)
	// Output:
	// b=ice@0
	// b=water@1
	// a=water@1
}

// The policy of all operators that have none of their own.
func ExampleBuilder_Emit() {
	b := stream.NewBuilder().Emit(stream.OnCommit)
	g := b.Stream(in).GroupByKey()
	g.Count(byWord).ToStream().To(counts)
	g.Emit(stream.OnUpdate).Count(state.NewKV[string, int64]("each")).ToStream().To(sums)
	d := open(b, streamtest.Config{CommitEvery: -1})
	defer d.Close()
	d.Input(in).Send("a", "x", 0)
	d.Input(in).Send("a", "y", 1)
	d.Commit()
	show(d, counts)
	show(d, sums)
	// Output:
	// a=2@1
	// a=1@0
	// a=2@1
}

// Single rules, where not all are wanted.
func ExampleBuilder_OptimizeWith() {
	b := stream.NewBuilder().OptimizeWith(stream.ReuseTopics)
	b.Table(in, state.NewKV[string, string]("rows"))
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	fmt.Print(topo.Fingerprint())
	// Output:
	// sub-topology 0 keeps rows (key-value, restored from in)
	// sub-topology 0 reads in
}

// The serdes of a window table hold for the topics behind it.
func ExampleWindowTable_Keys() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(time.Minute, 0)).
		Count(state.NewWindowed[string, int64]("per-minute")).
		Keys(quoted()).Values(integer()).
		KeyStream().Repartition("counts").ForEach(func(string, int64) {})
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "water", 1)
	written(d, "test-counts-repartition")
	// Output:
	// "a"=1
}
