// Package program is a shop: its orders, with their customers and their payments.
package program

import (
	"fmt"
	"time"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// ApplicationID begins the names of all topics.
const ApplicationID = "joins"

// Customer is where a customer lives.
type Customer struct{ Name, City string }

// Order is what a customer buys.
type Order struct {
	Number   string
	Customer string // the key of a Customer
	Item     string
	Cents    int64
}

// What comes in: customers by a key of theirs, orders and payments by the order's number.
var (
	Customers = stream.NewTopic[string, Customer]("joins-customers")
	Orders    = stream.NewTopic[string, Order]("joins-orders")
	Payments  = stream.NewTopic[string, int64]("joins-payments") // cents
)

// What goes out, by customer or by order, as text.
var (
	Receipts    = stream.NewTopic[string, string]("joins-receipts")
	Settlements = stream.NewTopic[string, string]("joins-settlements")
	Labels      = stream.NewTopic[string, string]("joins-labels")
)

// What is kept.
var (
	customerRows = state.NewKV[string, Customer]("customers")
	orderRows    = state.NewKV[string, Order]("orders")
)

// Build is the whole program.
func Build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	orders := b.Stream(Orders)
	payments := b.Stream(Payments)
	customers := b.Table(Customers, customerRows)

	// A stream with a table. An order meets the customer as he is when it comes, once: no receipt is written again
	// because somebody moves. Orders are keyed by number, so they have to be brought to their customers first.
	orders.
		SelectKey(func(_ string, o Order) string { return o.Customer }).
		Repartition("orders-by-customer").
		JoinTable(customers, func(o Order, c Customer) string {
			return fmt.Sprintf("order %s: %s for %s in %s", o.Number, o.Item, c.Name, c.City)
		}).
		To(Receipts)

	// A stream with a stream. An order meets the payments that come within an hour after it; when there was none
	// until then, it meets nil.
	orders.LeftJoin(payments, stream.Around(time.Hour, 0).Before(0), "order-payment", func(o Order, cents *int64) string {
		switch {
		case cents == nil:
			return "not paid within an hour"
		case *cents < o.Cents:
			return fmt.Sprintf("%d cents are missing", o.Cents-*cents)
		default:
			return "paid"
		}
	}).To(Settlements)

	// A table with a table, by a key that is in the value of the first. The result is a table too: a label is written
	// again when the order changes, and when its customer does.
	orders.ToTable(orderRows).
		JoinForeign(customers, func(_ string, o Order) (string, bool) { return o.Customer, true }, "order-customer",
			func(o Order, c Customer) string { return fmt.Sprintf("%s to %s, %s", o.Item, c.Name, c.City) }).
		ToStream().
		To(Labels)

	return b.Build()
}
