package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"thalweg/examples/joins/program"
	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

type (
	customer = topology.Record[string, program.Customer]
	order    = topology.Record[string, program.Order]
	payment  = topology.Record[string, int64]
)

// story is what happens, in chapters.
func story(c *runtime.Client) []func(context.Context) error {
	anna, bo := program.Customer{Name: "Anna", City: "Oslo"}, program.Customer{Name: "Bo", City: "Malmö"}
	annaMoved := program.Customer{Name: "Anna", City: "Bergen"}
	return []func(context.Context) error{
		func(ctx context.Context) error {
			return c.Send(ctx, program.Customers,
				customer{Timestamp: at(9, 0), Key: "anna", Value: anna},
				customer{Timestamp: at(9, 0), Key: "bo", Value: bo})
		},
		func(ctx context.Context) error {
			return errors.Join(
				c.Send(ctx, program.Orders,
					bought(at(10, 0), program.Order{Number: "1", Customer: "anna", Item: "bread", Cents: 400}),
					bought(at(10, 5), program.Order{Number: "2", Customer: "bo", Item: "cheese", Cents: 900}),
					bought(at(10, 10), program.Order{Number: "3", Customer: "anna", Item: "wine", Cents: 1500})),
				c.Send(ctx, program.Payments,
					payment{Timestamp: at(10, 20), Key: "1", Value: 400},
					payment{Timestamp: at(10, 30), Key: "3", Value: 1000},
					payment{Timestamp: at(11, 15), Key: "2", Value: 900})) // too late
		},
		func(ctx context.Context) error {
			return c.Send(ctx, program.Customers, customer{Timestamp: at(12, 0), Key: "anna", Value: annaMoved})
		},
		func(ctx context.Context) error {
			return c.Send(ctx, program.Orders,
				bought(at(12, 30), program.Order{Number: "4", Customer: "anna", Item: "apples", Cents: 300}))
		},
	}
}

func bought(at int64, o program.Order) order { return order{Timestamp: at, Key: o.Number, Value: o} }

// at is a time of the day on which all this happens.
func at(hour, minute int) int64 {
	return time.Date(2026, 5, 4, hour, minute, 0, 0, time.UTC).UnixMilli()
}

func clock(millis int64) string { return time.UnixMilli(millis).UTC().Format("15:04") }

// printAll prints what the program has written.
func printAll(ctx context.Context, c *runtime.Client, out io.Writer) error {
	fmt.Fprintln(out, "receipts: each order, with its customer as of then (stream and table)")
	if err := printRecords(ctx, c, program.Receipts, out); err != nil {
		return err
	}
	fmt.Fprintln(out, "\npayments: each order, with what was paid within an hour (stream and stream)")
	if err := printRecords(ctx, c, program.Settlements, out); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nlabels: each order, with its customer as of now (table and table, by a foreign key)")
	labels := map[string]string{} // of each key what was written last
	for r, err := range c.Read(ctx, program.Labels, runtime.Earliest()) {
		if err != nil {
			return err
		}
		labels[r.Key] = r.Value
	}
	for _, number := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(out, "  %s: %s\n", number, labels[number])
	}
	return nil
}

func printRecords(ctx context.Context, c *runtime.Client, t stream.Topic[string, string], out io.Writer) error {
	for r, err := range c.Read(ctx, t, runtime.Earliest()) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s  %s: %s\n", clock(r.Timestamp), r.Key, r.Value)
	}
	return nil
}
