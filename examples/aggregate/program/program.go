// Package program is the aggregation of orders: its types, its topics, its store and its topology.
package program

import (
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// Order is what a customer pays for. Its bytes in the topic are msgpack, as those of every type without a serde of
// its own.
type Order struct {
	Number int64  `msgpack:"number"`
	Item   string `msgpack:"item"`
	Cents  int64  `msgpack:"cents"`
}

// Summary is what is known of one customer.
type Summary struct {
	Orders  int64 `msgpack:"orders"`
	Cents   int64 `msgpack:"cents"`
	Largest Order `msgpack:"largest"` // the first of those with the most cents
}

// Add is the summary with one more order.
func (s Summary) Add(o Order) Summary {
	s.Orders++
	s.Cents += o.Cents
	if s.Orders == 1 || o.Cents > s.Largest.Cents {
		s.Largest = o
	}
	return s
}

// The durable parts: orders come keyed by customer; summaries go to a topic, and are kept in a store for queries.
var (
	Orders     = stream.NewTopic[string, Order]("orders")
	Summaries  = stream.NewTopic[string, Summary]("summaries")
	ByCustomer = state.NewKV[string, Summary]("by-customer")
)

// Build is the whole program.
func Build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	b.Stream(Orders).
		GroupByKey().
		Aggregate(ByCustomer,
			func() Summary { return Summary{} },
			func(_ string, o Order, s Summary) Summary { return s.Add(o) }).
		ToStream().
		To(Summaries)
	return b.Build()
}
