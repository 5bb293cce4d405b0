package stream_test

import (
	"fmt"
	"time"

	"thalweg/state"
	"thalweg/stream"
)

var others = stream.NewTopic[string, string]("others")

// both joins two sides, either of which may be absent.
func both(l, r *string) string {
	text := func(s *string) string {
		if s == nil {
			return "nothing"
		}
		return *s
	}
	return text(l) + " with " + text(r)
}

func pair(l, r string) string { return l + " with " + r }

// Records meet that are no more than 10 ms apart. The result has the later time.
func ExampleStream_Join() {
	b := stream.NewBuilder()
	b.Stream(in).Join(b.Stream(others), stream.Around(10*time.Millisecond, 0), "meetings", pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "left", 100)
	d.Input(others).Send("a", "near", 110)
	d.Input(others).Send("a", "far", 111)
	d.Input(others).Send("b", "other key", 100)
	show(d, out)
	// Output:
	// a=left with near@110
}

// A record that met nothing is emitted when nothing can come any more.
func ExampleStream_LeftJoin() {
	b := stream.NewBuilder()
	b.Stream(in).LeftJoin(b.Stream(others), stream.Around(10*time.Millisecond, 0), "meetings",
		func(l string, r *string) string { return both(&l, r) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "alone", 100)
	d.Input(in).Send("b", "left", 105)
	d.Input(others).Send("b", "right", 106)
	fmt.Println("told:", d.Output(out).Len())
	d.Input(in).Send("c", "newer", 200)
	show(d, out)
	// Output:
	// told: 1
	// b=left with right@106
	// a=alone with nothing@100
}

func ExampleStream_OuterJoin() {
	b := stream.NewBuilder()
	b.Stream(in).OuterJoin(b.Stream(others), stream.Around(10*time.Millisecond, 0), "meetings", both).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "left", 100)
	d.Input(others).Send("b", "right", 101)
	d.Input(in).Send("c", "newer", 200)
	show(d, out)
	// Output:
	// a=left with nothing@100
	// b=nothing with right@101
}

// Payments within a minute after the order, not before.
func ExampleWithin_Before() {
	b := stream.NewBuilder()
	b.Stream(in).Join(b.Stream(others), stream.Around(time.Minute, 0).Before(0), "paid", pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("a", "payment before", 99)
	d.Input(in).Send("a", "order", 100)
	d.Input(others).Send("a", "payment after", 101)
	show(d, out)
	// Output:
	// a=order with payment after@101
}

// A window that begins some time after the left record: what came a minute to an hour later.
func ExampleWithin_After() {
	b := stream.NewBuilder()
	later := stream.Around(0, 0).Before(-time.Minute).After(time.Hour)
	b.Stream(in).Join(b.Stream(others), later, "returned", pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "order", 100_000)
	d.Input(others).Send("a", "payment", 105_000)
	d.Input(others).Send("a", "return", 700_000)
	show(d, out)
	// Output:
	// a=order with return@700000
}

// A record meets the row that is there when it comes. Changes of the table join nothing by themselves.
func ExampleStream_JoinTable() {
	b := stream.NewBuilder()
	b.Stream(in).JoinTable(b.Table(others, state.NewKV[string, string]("rows")), pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "early", 1)
	d.Input(others).Send("a", "row", 2)
	d.Input(in).Send("a", "event", 3)
	d.Input(others).Send("a", "new row", 4)
	show(d, out)
	// Output:
	// a=event with row@3
}

func ExampleStream_LeftJoinTable() {
	b := stream.NewBuilder()
	b.Stream(in).LeftJoinTable(b.Table(others, state.NewKV[string, string]("rows")),
		func(l string, r *string) string { return both(&l, r) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "early", 1)
	d.Input(others).Send("a", "row", 2)
	d.Input(in).Send("a", "event", 3)
	show(d, out)
	// Output:
	// a=early with nothing@1
	// a=event with row@3
}

// A versioned table knows what a row was at a time. Records wait for 10 ms of stream time, in case the table is behind.
func ExampleStream_JoinAsOf() {
	b := stream.NewBuilder()
	table := b.VersionedTable(others, state.NewVersioned[string, string]("prices", time.Hour))
	b.Stream(in).JoinAsOf(table, stream.AtOrBefore(10*time.Millisecond), "waiting", pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("a", "old price", 1)
	d.Input(in).Send("a", "sale at 5", 5)
	d.Input(others).Send("a", "new price", 7)
	d.Input(in).Send("a", "sale at 8", 8)
	d.Input(in).Send("a", "sale at 20", 20)
	show(d, out)
	// Output:
	// a=sale at 5 with old price@5
	// a=sale at 8 with new price@8
}

func ExampleStream_JoinGlobal() {
	b := stream.NewBuilder()
	table := b.GlobalTable(others, state.NewKV[string, string]("countries"))
	b.Stream(in).JoinGlobal(table, func(_, code string) (string, bool) { return code, code != "" }, pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("no", "Norway", 1)
	d.Input(in).Send("anna", "no", 2)
	d.Input(in).Send("bo", "", 3)
	show(d, out)
	// Output:
	// anna=no with Norway@2
}

func ExampleStream_LeftJoinGlobal() {
	b := stream.NewBuilder()
	table := b.GlobalTable(others, state.NewKV[string, string]("countries"))
	b.Stream(in).LeftJoinGlobal(table, func(_, code string) (string, bool) { return code, code != "" },
		func(code string, country *string) string { return both(&code, country) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("no", "Norway", 1)
	d.Input(in).Send("anna", "no", 2)
	d.Input(in).Send("bo", "", 3)
	show(d, out)
	// Output:
	// anna=no with Norway@2
	// bo= with nothing@3
}

func tables(b *stream.Builder) (l, r stream.Table[string, string]) {
	return b.Table(in, state.NewKV[string, string]("left")), b.Table(others, state.NewKV[string, string]("right"))
}

// The result is a table too: it follows both, and a row ends when one side of it does.
func ExampleTable_Join() {
	b := stream.NewBuilder()
	l, r := tables(b)
	l.Join(r, pair).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "left", 1)
	d.Input(others).Send("a", "right", 2)
	d.Input(in).Send("a", "new left", 3)
	d.Input(others).SendNull("a", 4)
	show(d, out)
	// Output:
	// a=left with right@2
	// a=new left with right@3
	// a=~@4
}

func ExampleTable_LeftJoin() {
	b := stream.NewBuilder()
	l, r := tables(b)
	l.LeftJoin(r, func(l string, r *string) string { return both(&l, r) }).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "left", 1)
	d.Input(others).Send("a", "right", 2)
	d.Input(in).SendNull("a", 3)
	show(d, out)
	// Output:
	// a=left with nothing@1
	// a=left with right@2
	// a=~@3
}

func ExampleTable_OuterJoin() {
	b := stream.NewBuilder()
	l, r := tables(b)
	l.OuterJoin(r, both).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "left", 1)
	d.Input(others).Send("a", "right", 2)
	d.Input(in).SendNull("a", 3)
	d.Input(others).SendNull("a", 4)
	show(d, out)
	// Output:
	// a=left with nothing@1
	// a=left with right@2
	// a=nothing with right@3
	// a=~@4
}

// Orders say which customer they are of: a customer that changes changes all its orders.
func ExampleTable_JoinForeign() {
	b := stream.NewBuilder()
	orders, customers := tables(b)
	orders.JoinForeign(customers, func(_, customer string) (string, bool) { return customer, customer != "" },
		"customer-of", pair).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("order 1", "anna", 1)
	d.Input(others).Send("anna", "Oslo", 2)
	d.Input(in).Send("order 2", "anna", 3)
	d.Input(others).Send("anna", "Bergen", 4)
	d.Input(in).SendNull("order 1", 5)
	show(d, out)
	// Output:
	// order 1=anna with Oslo@2
	// order 2=anna with Oslo@3
	// order 1=anna with Bergen@4
	// order 2=anna with Bergen@4
	// order 1=~@5
}

func ExampleTable_LeftJoinForeign() {
	b := stream.NewBuilder()
	orders, customers := tables(b)
	orders.LeftJoinForeign(customers, func(_, customer string) (string, bool) { return customer, customer != "" },
		"customer-of", func(order string, c *string) string { return both(&order, c) }).ToStream().To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("order 1", "anna", 1)
	d.Input(others).Send("anna", "Oslo", 2)
	d.Input(others).SendNull("anna", 3)
	show(d, out)
	// Output:
	// order 1=anna with nothing@1
	// order 1=anna with Oslo@2
	// order 1=anna with nothing@3
}

func ExampleStream_LeftJoinAsOf() {
	b := stream.NewBuilder()
	table := b.VersionedTable(others, state.NewVersioned[string, string]("prices", time.Hour))
	b.Stream(in).LeftJoinAsOf(table, stream.AtOrBefore(10*time.Millisecond), "waiting",
		func(l string, r *string) string { return both(&l, r) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "sale at 5", 5)
	d.Input(others).Send("a", "price of 7", 7)
	d.Input(in).Send("a", "sale at 20", 20)
	show(d, out)
	// Output:
	// a=sale at 5 with nothing@5
}
