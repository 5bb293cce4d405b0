package stream_test

import (
	"fmt"
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

// An auction says until when bids count: bid.time BETWEEN auction.time AND auction.expires.
func ExampleWithin_BoundedByLeft() {
	type auction struct {
		Item    string
		Expires time.Time
	}
	auctions := stream.NewTopic[string, auction]("auctions").Values(serde.JSON[auction]())
	open := func(a auction) (from, to time.Time) { return from, a.Expires }

	b := stream.NewBuilder()
	week := stream.Around(7*24*time.Hour, 0).Before(0) // from the auction's time on, and no auction is longer
	b.Stream(auctions).Join(b.Stream(numbers), week.BoundedByLeft(open), "bids",
		func(a auction, bid int64) string { return fmt.Sprintf("%d for a %s", bid, a.Item) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(auctions).Send("a1", auction{"boat", time.UnixMilli(2000)}, 1000)
	d.Input(auctions).Send("a2", auction{"canoe", time.UnixMilli(5000)}, 1000)
	d.Input(numbers).Send("a1", 10, 2000)
	d.Input(numbers).Send("a1", 20, 2001)
	d.Input(numbers).Send("a2", 30, 2002)
	show(d, out)
	// Output:
	// a1=10 for a boat@2000
	// a2=30 for a canoe@2002
}

// The same, with the auctions on the right.
func ExampleWithin_BoundedByRight() {
	b := stream.NewBuilder()
	ends := func(expires int64) (from, to time.Time) { return from, time.UnixMilli(expires) }
	b.Stream(in).LeftJoin(b.Stream(numbers), stream.Around(time.Second, 0).After(0).BoundedByRight(ends), "bids",
		func(bid string, expires *int64) string { return fmt.Sprint(bid, " is in time: ", expires != nil) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(numbers).Send("auction", 2000, 1000) // from 1000 to 2000
	d.Input(in).Send("auction", "a bid", 1500)
	d.Input(in).Send("auction", "another bid", 2001)
	d.Input(in).Send("other", "much later", 9000)
	show(d, out)
	// Output:
	// auction=a bid is in time: true@1500
	// auction=another bid is in time: false@2001
}

// The first price that comes at the time of an order or within 10 ms after it.
func ExampleAtOrAfter() {
	b := stream.NewBuilder()
	prices := b.VersionedTable(others, state.NewVersioned[string, string]("prices", time.Hour))
	b.Stream(in).LeftJoinAsOf(prices, stream.AtOrAfter(10*time.Millisecond, 0), "waiting",
		func(order string, price *string) string { return both(&order, price) }).To(out)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("a", "price of 1", 1)
	d.Input(in).Send("a", "order at 5", 5)
	d.Input(others).Send("a", "price of 9", 9)
	d.Input(others).Send("a", "price of 7", 7)
	d.Input(in).Send("a", "order at 10", 10)
	d.Input(in).Send("a", "order at 30", 30)
	show(d, out)
	// Output:
	// a=order at 5 with price of 7@5
	// a=order at 10 with nothing@10
}

// Two streams: each trade meets the quote of its time, once quotes have had 10 ms to come.
func ExampleAtOrBefore() {
	b := stream.NewBuilder()
	quotes := b.Stream(others).ToVersionedTable(state.NewVersioned[string, string]("quotes", time.Hour))
	b.Stream(in).JoinAsOf(quotes, stream.AtOrBefore(10*time.Millisecond), "trades", pair).To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "trade at 5", 5)
	d.Input(others).Send("a", "quote of 6", 6)
	d.Input(others).Send("a", "quote of 4", 4)
	d.Input(in).Send("a", "trade at 15", 15)
	show(d, out)
	// Output:
	// a=trade at 5 with quote of 4@5
}

// With more than two waiting the application stops, rather than to join one too soon.
func ExampleAsOf_RecordsMax() {
	b := stream.NewBuilder()
	prices := b.VersionedTable(others, state.NewVersioned[string, string]("prices", time.Hour))
	b.Stream(in).JoinAsOf(prices, stream.AtOrBefore(time.Second).RecordsMax(2), "waiting", pair).To(out)
	d := play(b)
	defer d.Close()
	for ts := range int64(2) {
		d.Input(in).Send("a", "sale", ts)
	}
	fmt.Println(d.Input(in).TrySend("a", "one more", 2) != nil)
	// Output:
	// true
}
