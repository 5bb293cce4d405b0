package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"thalweg/examples/aggregate/program"
	"thalweg/runtime"
)

// printTable queries the store: all partitions that are here, each in the order of its keys.
func printTable(ctx context.Context, app *runtime.App, out io.Writer) (err error) {
	if err := app.Checkpoint(ctx); err != nil {
		return err
	}
	view, err := app.View(program.ByCustomer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "customer\torders\tcents\tlargest\tof\t")
	for e, err := range program.ByCustomer.Read(view.Reader).All() {
		if err != nil {
			return fmt.Errorf("query of %s: %w", program.ByCustomer.Name(), err)
		}
		s := e.Value
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t\n", e.Key, s.Orders, s.Cents, s.Largest.Cents, s.Largest.Item)
	}
	return table.Flush()
}
