// Package queries is twelve Nexmark queries: a program of the size that users write, for measuring what it costs to compile.
package queries

import (
	"cmp"
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

const grace = time.Minute

const (
	size = 10 * time.Second
)

// raw is a record of an output topic.
type raw struct{ key, value []byte }

// query is a topology and what its output topic means.
type query struct {
	build  func(b *stream.Builder)
	topics []string // that it reads
	out    string
	rows   func([]raw) ([][]any, error)
}

// events: each record is a row. table: of each key the last one, unless it is null, is any number of rows.
func events[K, V any](t stream.Topic[K, V], row func(K, V) []any) (string, func([]raw) ([][]any, error)) {
	keys, values := t.Serdes()
	return t.Name(), func(rs []raw) (out [][]any, err error) {
		for _, r := range rs {
			k, err := keys.Decode(r.key)
			if err != nil {
				return nil, err
			}
			v, err := values.Decode(r.value)
			if err != nil {
				return nil, err
			}
			out = append(out, row(k, v))
		}
		return out, nil
	}
}

func table[K, V any](t stream.Topic[K, V], rows func(K, V) [][]any) (string, func([]raw) ([][]any, error)) {
	keys, values := t.Serdes()
	return t.Name(), func(rs []raw) (out [][]any, err error) {
		last := map[string][]byte{}
		for _, r := range rs {
			if r.value == nil {
				delete(last, string(r.key))
				continue
			}
			last[string(r.key)] = r.value
		}
		for key, value := range last {
			k, err := keys.Decode([]byte(key))
			if err != nil {
				return nil, err
			}
			v, err := values.Decode(value)
			if err != nil {
				return nil, err
			}
			out = append(out, rows(k, v)...)
		}
		return out, nil
	}
}

func one(xs ...any) [][]any { return [][]any{xs} }

var queries = map[string]query{}

// Build adds the query of that name ("q1" …) to a builder.
func Build(b *stream.Builder, name string) { queries[name].build(b) }

// Q1: currency.
var outQ1 = stream.NewTopic[int64, Bid]("q1")

func buildQ1(b *stream.Builder) {
	b.Stream(Bids).MapValues(func(v Bid) Bid { v.Price *= 908; return v }).To(outQ1)
}

// Q2: selection.
var outQ2 = stream.NewTopic[int64, Bid]("q2")

func buildQ2(b *stream.Builder) {
	b.Stream(Bids).Filter(func(_ int64, v Bid) bool { return v.Auction%123 == 0 }).To(outQ2)
}

// Q3: local items.
type Offer struct {
	Name, City, State string
	Auction           int64
}

var outQ3 = stream.NewTopic[int64, Offer]("q3")

func buildQ3(b *stream.Builder) {
	sellers := b.Table(Persons, state.NewKV[int64, Person]("persons")).
		Filter(func(_ int64, p Person) bool { return p.State == "OR" || p.State == "ID" || p.State == "CA" })
	b.Table(Auctions, state.NewKV[int64, Auction]("auctions")).
		Filter(func(_ int64, a Auction) bool { return a.Category == 10 }).
		JoinForeign(sellers, func(_ int64, a Auction) (int64, bool) { return a.Seller, true }, "auction-seller",
			func(a Auction, p Person) Offer { return Offer{p.Name, p.City, p.State, a.ID} }).
		ToStream().To(outQ3)
}

// Q4 and Q9: winning bids.
type Winner struct {
	Item             string
	Seller, Category int64
	Bid              Bid
	Valid            bool
}

func better(a, b Winner) Winner {
	if cmp.Or(cmp.Compare(b.Bid.Price, a.Bid.Price), cmp.Compare(a.Bid.Time, b.Bid.Time), cmp.Compare(a.Bid.N, b.Bid.N)) <= 0 {
		return a
	}
	return b
}

func winners(b *stream.Builder) stream.Table[int64, Winner] {
	return b.Stream(Auctions).
		Join(b.Stream(Bids), stream.Around(17*time.Second, grace).Before(0), "auction-bids",
			func(a Auction, v Bid) Winner {
				return Winner{a.Item, a.Seller, a.Category, v, v.Time <= a.Expires}
			}).
		Filter(func(_ int64, w Winner) bool { return w.Valid }).
		GroupByKey().
		Reduce(state.NewKV[int64, Winner]("winners"), better)
}

type Average struct{ Sum, Count int64 }

var (
	outQ4 = stream.NewTopic[int64, Average]("q4")
	outQ9 = stream.NewTopic[int64, Winner]("q9")
)

func buildQ4(b *stream.Builder) {
	winners(b).
		GroupBy("by-category", func(_ int64, w Winner) (int64, int64) { return w.Category, w.Bid.Price }).
		Aggregate(state.NewKV[int64, Average]("averages"),
			func() Average { return Average{} },
			func(_, price int64, a Average) Average { return Average{a.Sum + price, a.Count + 1} },
			func(_, price int64, a Average) Average { return Average{a.Sum - price, a.Count - 1} }).
		ToStream().To(outQ4)
}

func buildQ9(b *stream.Builder) { winners(b).ToStream().To(outQ9) }

// Q5: hot items. A count only grows, so that the most of a window needs no subtraction.
type Counted struct{ Auction, Bids int64 }

type Most struct {
	Bids     int64
	Auctions []int64
}

func (m Most) with(c Counted) Most {
	switch {
	case c.Bids > m.Bids:
		return Most{c.Bids, []int64{c.Auction}}
	case c.Bids == m.Bids:
		m.Auctions = append(m.Auctions, c.Auction)
	}
	return m
}

var outQ5 = stream.NewTopic[int64, Most]("q5")

func buildQ5(b *stream.Builder) {
	b.Stream(Bids).GroupByKey().
		Windowed(stream.Hopping(size, 2*time.Second, grace)).
		Count(state.NewWindowed[int64, int64]("bids")).
		Try().MapValues(func(_ *stream.Call, a int64, _ stream.Span, n int64) (Counted, error) {
		return Counted{a, n}, nil
	}).
		ToStream(func(_ int64, w stream.Span) int64 { return w.Start }).
		Repartition("by-window").
		GroupByKey().
		Aggregate(state.NewKV[int64, Most]("most"), func() Most { return Most{} },
			func(_ int64, c Counted, m Most) Most { return m.with(c) }).
		ToStream().To(outQ5)
}

// Q7: highest bids of a window.
var outQ7 = stream.NewTopic[int64, []Bid]("q7")

func buildQ7(b *stream.Builder) {
	b.Stream(Bids).
		GroupBy("by-window", func(_ int64, v Bid) int64 { return v.Time - v.Time%size.Milliseconds() }).
		Aggregate(state.NewKV[int64, []Bid]("highest"), func() []Bid { return nil },
			func(_ int64, v Bid, top []Bid) []Bid {
				switch {
				case len(top) == 0 || v.Price > top[0].Price:
					return []Bid{v}
				case v.Price == top[0].Price:
					return append(top, v)
				}
				return top
			}).
		ToStream().To(outQ7)
}

// Q8: new sellers.
var outQ8 = stream.NewTopic[stream.WindowedKey[int64], string]("q8")

func buildQ8(b *stream.Builder) {
	w := stream.Tumbling(size, grace)
	people := b.Stream(Persons).GroupByKey().Windowed(w).
		Reduce(state.NewWindowed[int64, Person]("people"), func(_, p Person) Person { return p })
	sellers := b.Stream(Auctions).GroupBy("by-seller", func(_ int64, a Auction) int64 { return a.Seller }).Windowed(w).
		Count(state.NewWindowed[int64, int64]("sellers"))
	people.Join(sellers, func(p Person, _ int64) string { return p.Name }).
		ToStream(stream.WindowKey).To(outQ8)
}

// Q11: sessions of bidders.
var outQ11 = stream.NewTopic[stream.WindowedKey[int64], int64]("q11")

func buildQ11(b *stream.Builder) {
	b.Stream(Bids).GroupBy("by-bidder", func(_ int64, v Bid) int64 { return v.Bidder }).
		Sessions(stream.SessionGap(size, grace)).
		Count(state.NewSession[int64, int64]("sessions")).
		ToStream(stream.WindowKey).To(outQ11)
}

// Q18: last bids.
type BidderAuction struct{ Bidder, Auction int64 }

var outQ18 = stream.NewTopic[BidderAuction, Bid]("q18").Keys(serde.Ordered[BidderAuction]())

func buildQ18(b *stream.Builder) {
	b.Stream(Bids).
		GroupBy("by-bidder-auction", func(_ int64, v Bid) BidderAuction { return BidderAuction{v.Bidder, v.Auction} }).
		Reduce(state.NewKV[BidderAuction, Bid]("last"), func(a, b Bid) Bid {
			if cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.N, b.N)) > 0 {
				return a
			}
			return b
		}).
		ToStream().To(outQ18)
}

// Q19: ten highest bids.
var outQ19 = stream.NewTopic[int64, []Bid]("q19")

func buildQ19(b *stream.Builder) {
	b.Stream(Bids).GroupByKey().
		Top(state.NewKV[int64, []Bid]("top"), 10, func(a, b Bid) int {
			return cmp.Or(cmp.Compare(b.Price, a.Price), cmp.Compare(a.N, b.N))
		}).
		ToStream().To(outQ19)
}

// Q20: bids with their auctions.
type BidAuction struct {
	Bid    Bid
	Item   string
	Seller int64
}

var outQ20 = stream.NewTopic[int64, BidAuction]("q20")

func buildQ20(b *stream.Builder) {
	auctions := b.Table(Auctions, state.NewKV[int64, Auction]("auctions")).
		Filter(func(_ int64, a Auction) bool { return a.Category == 10 })
	b.Stream(Bids).JoinTable(auctions, func(v Bid, a Auction) BidAuction { return BidAuction{v, a.Item, a.Seller} }).To(outQ20)
}

func init() {
	set := func(name string, build func(*stream.Builder), topics ...string) func(string, func([]raw) ([][]any, error)) {
		return func(out string, rows func([]raw) ([][]any, error)) { queries[name] = query{build, topics, out, rows} }
	}
	set("q1", buildQ1, "bid")(events(outQ1, func(_ int64, v Bid) []any { return []any{v.Auction, v.Bidder, v.Price, v.Time, v.N} }))
	set("q2", buildQ2, "bid")(events(outQ2, func(_ int64, v Bid) []any { return []any{v.Auction, v.Price, v.N} }))
	set("q3", buildQ3, "person", "auction")(table(outQ3, func(_ int64, o Offer) [][]any { return one(o.Name, o.City, o.State, o.Auction) }))
	set("q4", buildQ4, "auction", "bid")(table(outQ4, func(c int64, a Average) [][]any {
		if a.Count == 0 {
			return nil
		}
		return one(c, a.Sum/a.Count, a.Sum, a.Count)
	}))
	set("q5", buildQ5, "bid")(table(outQ5, func(start int64, m Most) (rows [][]any) {
		for _, a := range m.Auctions {
			rows = append(rows, []any{start, start + size.Milliseconds(), a, m.Bids})
		}
		return rows
	}))
	set("q7", buildQ7, "bid")(table(outQ7, func(start int64, top []Bid) (rows [][]any) {
		for _, v := range top {
			rows = append(rows, []any{start, v.Auction, v.Bidder, v.Price, v.Time, v.N})
		}
		return rows
	}))
	set("q8", buildQ8, "person", "auction")(table(outQ8, func(k stream.WindowedKey[int64], name string) [][]any { return one(k.Key, name, k.Span.Start) }))
	set("q9", buildQ9, "auction", "bid")(table(outQ9, func(a int64, w Winner) [][]any {
		return one(a, w.Item, w.Seller, w.Category, w.Bid.Bidder, w.Bid.Price, w.Bid.Time, w.Bid.N)
	}))
	set("q11", buildQ11, "bid")(table(outQ11, func(k stream.WindowedKey[int64], n int64) [][]any {
		return one(k.Key, n, k.Span.Start, k.Span.End)
	}))
	set("q18", buildQ18, "bid")(table(outQ18, func(_ BidderAuction, v Bid) [][]any {
		return one(v.Auction, v.Bidder, v.Price, v.Channel, v.Time, v.N)
	}))
	set("q19", buildQ19, "bid")(table(outQ19, func(a int64, top []Bid) (rows [][]any) {
		for i, v := range top {
			rows = append(rows, []any{a, i + 1, v.Bidder, v.Price, v.Time, v.N})
		}
		return rows
	}))
	set("q20", buildQ20, "auction", "bid")(events(outQ20, func(_ int64, v BidAuction) []any {
		return []any{v.Bid.Auction, v.Bid.Bidder, v.Bid.Price, v.Bid.Time, v.Bid.N, v.Item, v.Seller}
	}))
}
