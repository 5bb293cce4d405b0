package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"thalweg/examples/internal/place"
	"thalweg/examples/windows/program"
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
func printAll(ctx context.Context, t *place.Topics, out io.Writer) error {
	final, err := t.Read(ctx, program.Final)
	if err != nil {
		return err
	}
	running, err := t.Read(ctx, program.Running)
	if err != nil {
		return err
	}
	late, err := t.Read(ctx, program.Late)
	if err != nil {
		return err
	}
	visits, err := t.Read(ctx, program.Visits)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "views per page and minute, when they were final")
	open := map[stream.WindowedKey[string]]int64{}
	for _, r := range running {
		open[r.Key] = r.Value
	}
	for _, r := range final {
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
	for _, r := range late {
		fmt.Fprintf(w, "  %s\t%s\n", clock(r.Timestamp), r.Value)
	}
	fmt.Fprintln(w, "\nvisits that are over")
	for _, r := range visits {
		s := r.Key.Span
		fmt.Fprintf(w, "  %s to %s\t%s\t%d views\n", clock(s.Start), clock(s.End), r.Key.Key, r.Value)
	}
	return w.Flush()
}
