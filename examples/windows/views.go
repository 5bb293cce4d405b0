package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"thalweg/examples/windows/program"
	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

type view = topology.Record[string, string]

// views are in the order in which they come, which is not quite that in which they were made.
func views() []view {
	return []view{
		{Timestamp: at(0, 5), Key: "anna", Value: "/home"},
		{Timestamp: at(0, 20), Key: "anna", Value: "/shop"},
		{Timestamp: at(0, 25), Key: "bo", Value: "/home"},
		{Timestamp: at(0, 40), Key: "anna", Value: "/shop"},
		{Timestamp: at(1, 4), Key: "anna", Value: "/cart"},
		{Timestamp: at(0, 58), Key: "bo", Value: "/home"}, // late, but within the grace
		{Timestamp: at(1, 30), Key: "cleo", Value: "/home"},
		{Timestamp: at(0, 56), Key: "bo", Value: "/shop"}, // too late for its minute, not for the visit
		{Timestamp: at(1, 45), Key: "cleo", Value: "/shop"},
		{Timestamp: at(2, 15), Key: "bo", Value: "/home"},
		{Timestamp: at(3, 30), Key: "anna", Value: "/home"},
	}
}

// at is a time shortly after noon.
func at(minute, second int) int64 {
	return time.Date(2026, 5, 4, 12, minute, second, 0, time.UTC).UnixMilli()
}

func clock(millis int64) string { return time.UnixMilli(millis).UTC().Format("15:04:05") }

// printAll prints what the program has written.
func printAll(ctx context.Context, c *runtime.Client, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	running, err := read(ctx, c, program.Running)
	if err != nil {
		return err
	}
	open := map[stream.WindowedKey[string]]int64{}
	for _, r := range running {
		open[r.Key] = r.Value
	}
	fmt.Fprintln(w, "views per page and minute, when they were final")
	for r, err := range c.Read(ctx, program.Final, runtime.Earliest()) {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s\t%s\t%d\n", clock(r.Key.Span.Start), r.Key.Key, r.Value)
		delete(open, r.Key)
	}
	fmt.Fprintln(w, "\nas far as they are known, where the minute is not over")
	for _, r := range running {
		if n, ok := open[r.Key]; ok && n == r.Value {
			fmt.Fprintf(w, "  %s\t%s\t%d\n", clock(r.Key.Span.Start), r.Key.Key, n)
		}
	}
	fmt.Fprintln(w, "\nviews that came too late to be counted")
	for r, err := range c.Read(ctx, program.Late, runtime.Earliest()) {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s\t%s\n", clock(r.Timestamp), r.Value)
	}
	fmt.Fprintln(w, "\nvisits that are over")
	for r, err := range c.Read(ctx, program.Visits, runtime.Earliest()) {
		if err != nil {
			return err
		}
		s := r.Key.Span
		fmt.Fprintf(w, "  %s to %s\t%s\t%d views\n", clock(s.Start), clock(s.End), r.Key.Key, r.Value)
	}
	return w.Flush()
}

// read returns all that a topic holds.
func read[K, V any](
	ctx context.Context, c *runtime.Client, t stream.Topic[K, V],
) (all []runtime.Record[K, V], err error) {
	for r, err := range c.Read(ctx, t, runtime.Earliest()) {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}
