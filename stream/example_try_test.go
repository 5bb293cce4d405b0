package stream_test

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// skipping starts a program that goes on after a failure, and prints it.
func skipping(b *stream.Builder) *streamtest.Driver {
	return open(b, streamtest.Config{Errors: topology.Errors{Handle: func(e *topology.ProcessingError) topology.Action {
		fmt.Printf("%s@%d: %v\n", e.Metadata.Topic, e.Metadata.Offset, e.Err)
		return topology.Skip
	}}})
}

// number is a function that may fail.
func number(_ *stream.Call, _, text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

// A record that fails is left out, or stops the application, as the policy says.
func ExampleStream_Try() {
	b := stream.NewBuilder()
	b.Stream(in).Try().MapValues(number).To(sums)
	d := skipping(b)
	defer d.Close()
	input := d.Input(in)
	input.Send("a", "1", 10)
	input.Send("a", "one", 20)
	input.Send("a", "2", 30)
	show(d, sums)
	// Output:
	// in@1: strconv.ParseInt: parsing "one": invalid syntax
	// a=1@10
	// a=2@30
}

// The call says where the record came from, and has its time and its headers.
func ExampleCall() {
	b := stream.NewBuilder()
	b.Stream(in).Try().MapValues(func(c *stream.Call, key, text string) (string, error) {
		for _, h := range c.Headers() {
			text += fmt.Sprintf(" %s=%s", h.Key, h.Value)
		}
		return fmt.Sprintf("%s: %s-%d@%d at %d", text, c.Topic(), c.Partition(), c.Offset(), c.Timestamp()), nil
	}).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).SendRecord(topology.Record[string, string]{
		Key: "a", Value: "text", Timestamp: 10, Headers: []topology.Header{{Key: "trace", Value: []byte("42")}},
	})
	show(d, out)
	// Output:
	// a=text trace=42: in-0@0 at 10@10
}

func ExampleTryStream_Filter() {
	b := stream.NewBuilder()
	b.Stream(in).Try().Filter(func(c *stream.Call, _, text string) (bool, error) {
		n, err := strconv.Atoi(text)
		return n > 10, err
	}).To(out)
	d := skipping(b)
	defer d.Close()
	input := d.Input(in)
	for i, text := range []string{"9", "eleven", "12"} {
		input.Send("a", text, int64(i))
	}
	show(d, out)
	// Output:
	// in@1: strconv.Atoi: parsing "eleven": invalid syntax
	// a=12@2
}

func ExampleTryStream_FlatMapValues() {
	b := stream.NewBuilder()
	b.Stream(in).Try().FlatMapValues(func(_ *stream.Call, _, text string) (iter.Seq[string], error) {
		if text == "" {
			return nil, errors.New("an empty line")
		}
		return strings.FieldsSeq(text), nil
	}).To(out)
	d := skipping(b)
	defer d.Close()
	d.Input(in).Send("a", "to be", 1)
	d.Input(in).Send("a", "", 2)
	show(d, out)
	// Output:
	// in@1: an empty line
	// a=to@1
	// a=be@1
}

// The function sees the key, and may refuse a pair.
func ExampleTryStream_Join() {
	b := stream.NewBuilder()
	b.Stream(in).Try().Join(b.Stream(others), stream.Around(time.Minute, 0), "meetings",
		func(c *stream.Call, key, l, r string) (string, error) {
			if l == r {
				return "", fmt.Errorf("%s meets itself", key)
			}
			return fmt.Sprintf("%s and %s, by %s", l, r, c.Topic()), nil
		}).To(out)
	d := skipping(b)
	defer d.Close()
	d.Input(in).Send("a", "left", 1)
	d.Input(others).Send("a", "left", 2)
	d.Input(others).Send("a", "right", 3)
	show(d, out)
	// Output:
	// others@0: a meets itself
	// a=left and right, by others@3
}

func ExampleTryStream_JoinTable() {
	b := stream.NewBuilder()
	b.Stream(in).Try().JoinTable(b.Table(others, state.NewKV[string, string]("rows")),
		func(_ *stream.Call, key, event, row string) (string, error) {
			return key + ": " + event + " " + row, nil
		}).
		To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("a", "row", 1)
	d.Input(in).Send("a", "event", 2)
	show(d, out)
	// Output:
	// a=a: event row@2
}

// A record that fails leaves the aggregate as it was.
func ExampleTryGrouped_Aggregate() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Try().Aggregate(state.NewKV[string, int64]("sums"), func() int64 { return 0 },
		func(c *stream.Call, key, text string, sum int64) (int64, error) {
			n, err := number(c, key, text)
			return sum + n, err
		}).ToStream().To(sums)
	d := skipping(b)
	defer d.Close()
	input := d.Input(in)
	for i, text := range []string{"1", "two", "3"} {
		input.Send("a", text, int64(i))
	}
	show(d, sums)
	// Output:
	// in@1: strconv.ParseInt: parsing "two": invalid syntax
	// a=1@0
	// a=4@2
}

func ExampleTryWindowedGroup_Reduce() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).Try().
		Reduce(state.NewWindowed[string, string]("longest"), func(_ *stream.Call, _, a, b string) (string, error) {
			if len(a) == len(b) {
				return "", fmt.Errorf("%q is as long as %q", b, a)
			}
			if len(a) > len(b) {
				return a, nil
			}
			return b, nil
		}).Try().ToStream(func(_ *stream.Call, key string, w stream.Span) (string, error) {
		return fmt.Sprintf("%s from %d", key, w.Start), nil
	}).To(out)
	d := skipping(b)
	defer d.Close()
	input := d.Input(in)
	for i, text := range []string{"be", "or", "not"} {
		input.Send("a", text, int64(i))
	}
	show(d, out)
	// Output:
	// in@1: "or" is as long as "be"
	// a from 0=be@0
	// a from 0=not@2
}

func ExampleTrySessionGroup_Aggregate() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Sessions(stream.SessionGap(5*time.Millisecond, 0)).Try().
		Aggregate(state.NewSession[string, int64]("visits"), func() int64 { return 0 },
			func(c *stream.Call, key, text string, sum int64) (int64, error) {
				n, err := number(c, key, text)
				return sum + n, err
			},
			func(_ *stream.Call, _ string, a, b int64) (int64, error) { return a + b, nil }).
		ToStream(func(key string, w stream.Span) string { return fmt.Sprintf("%s %d to %d", key, w.Start, w.End) }).
		To(sums)
	d := skipping(b)
	defer d.Close()
	input := d.Input(in)
	for i, text := range []string{"1", "two", "3"} {
		input.Send("a", text, int64(i))
	}
	show(d, sums)
	// Output:
	// in@1: strconv.ParseInt: parsing "two": invalid syntax
	// a 0 to 0=1@0
	// a 0 to 0=~@0
	// a 0 to 2=4@2
}

// A row that fails is no row behind the function. Where the table is read through it, the record fails that reads it.
func ExampleTable_Try() {
	b := stream.NewBuilder().Emit(stream.OnCommit) // rows have no record of their own then
	rows := b.Table(others, state.NewKV[string, string]("rows")).Try().MapValues(number)
	rows.ToStream().To(sums)
	b.Stream(in).JoinTable(rows, func(event string, n int64) string { return fmt.Sprint(event, " ", n) }).To(out)
	d := skipping(b)
	defer d.Close()
	d.Input(others).Send("a", "1", 1)
	d.Input(in).Send("a", "event", 2)
	d.Input(others).Send("a", "two", 3)
	d.Input(in).Send("a", "event", 4)
	show(d, sums)
	show(d, out)
	// Output:
	// @0: strconv.ParseInt: parsing "two": invalid syntax
	// in@1: strconv.ParseInt: parsing "two": invalid syntax
	// a=1@1
	// a=~@3
	// a=event 1@2
}

func ExampleTryTable_JoinForeign() {
	b := stream.NewBuilder().Emit(stream.OnCommit)
	orders := b.Table(in, state.NewKV[string, string]("orders"))
	customers := b.Table(others, state.NewKV[string, string]("customers"))
	orders.Try().JoinForeign(customers, func(_ *stream.Call, key, order string) (string, bool, error) {
		customer, _, ok := strings.Cut(order, ":")
		if !ok {
			return "", false, fmt.Errorf("order %s names no customer", key)
		}
		return customer, true, nil
	}, "customer", func(_ *stream.Call, key, order, customer string) (string, error) {
		return fmt.Sprintf("%s of %s", key, customer), nil
	}).ToStream().To(out)
	d := skipping(b)
	defer d.Close()
	d.Input(others).Send("a", "anna", 1)
	d.Input(in).Send("1", "a:book", 2)
	d.Input(in).Send("2", "book", 3)
	show(d, out)
	// Output:
	// @0: order 2 names no customer
	// 1=1 of anna@2
}

func ExampleTryGroupedTable_Aggregate() {
	b := stream.NewBuilder()
	add := func(c *stream.Call, key, text string, sum int64) (int64, error) {
		n, err := number(c, key, text)
		return sum + n, err
	}
	sub := func(c *stream.Call, key, text string, sum int64) (int64, error) {
		n, err := number(c, key, text)
		return sum - n, err
	}
	b.Table(in, state.NewKV[string, string]("rows")).
		GroupBy("all", func(_, text string) (string, string) { return "all", text }).Try().
		Aggregate(state.NewKV[string, int64]("sum"), func() int64 { return 0 }, add, sub).ToStream().To(sums)
	d := skipping(b)
	defer d.Close()
	d.Input(in).Send("a", "1", 1)
	d.Input(in).Send("b", "two", 2)
	d.Input(in).Send("c", "3", 3)
	show(d, sums)
	// Output:
	// test-all-repartition@1: strconv.ParseInt: parsing "two": invalid syntax
	// all=1@1
	// all=4@3
}

func ExampleTryWindowTable_MapValues() {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(10*time.Millisecond, 0)).
		Count(state.NewWindowed[string, int64]("windows")).Try().
		MapValues(func(_ *stream.Call, _ string, w stream.Span, n int64) (int64, error) {
			return n * 1000 / (w.End - w.Start), nil
		}).ToStream(func(key string, _ stream.Span) string { return key }).To(sums)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 1)
	show(d, sums)
	// Output:
	// a=100@1
}

func ExampleTryCogrouped_With() {
	b := stream.NewBuilder()
	add := func(c *stream.Call, key, text string, sum int64) (int64, error) {
		n, err := number(c, key, text)
		return sum + n, err
	}
	b.Stream(in).GroupByKey().Try().Cogroup(add).Try().With(b.Stream(others).GroupByKey(), add).
		Aggregate(state.NewKV[string, int64]("both"), func() int64 { return 0 }).ToStream().To(sums)
	d := skipping(b)
	defer d.Close()
	d.Input(in).Send("a", "1", 1)
	d.Input(others).Send("a", "two", 2)
	d.Input(others).Send("a", "3", 3)
	show(d, sums)
	// Output:
	// others@0: strconv.ParseInt: parsing "two": invalid syntax
	// a=1@1
	// a=4@3
}

func ExampleTrySessionCogroup_Aggregate() {
	b := stream.NewBuilder()
	add := func(_ string, text string, sum int64) int64 { return sum + int64(len(text)) }
	b.Stream(in).GroupByKey().Cogroup(add).With(b.Stream(others).GroupByKey(), add).
		Sessions(stream.SessionGap(5*time.Millisecond, 0)).Try().
		Aggregate(state.NewSession[string, int64]("visits"), func() int64 { return 0 },
			func(_ *stream.Call, key string, a, b int64) (int64, error) {
				if a+b > 5 {
					return 0, fmt.Errorf("%s has stayed for too long", key)
				}
				return a + b, nil
			}).
		ToStream(func(key string, w stream.Span) string { return fmt.Sprintf("%s %d to %d", key, w.Start, w.End) }).
		To(sums)
	d := skipping(b)
	defer d.Close()
	d.Input(in).Send("a", "four", 1)
	d.Input(others).Send("a", "one", 2)
	d.Input(others).Send("a", "one", 3)
	show(d, sums)
	// Output:
	// others@1: a has stayed for too long
	// a 1 to 1=4@1
	// a 1 to 1=~@1
	// a 1 to 2=7@2
}
