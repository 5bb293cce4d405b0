package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thalweg/broker"
	"thalweg/cmd/thalweg/internal/workload"
	"thalweg/runtime"
)

func benchCommand() *cobra.Command {
	var o workload.Options
	var guarantee, sync, profile string
	var asJSON bool
	about := ""
	for _, w := range workload.Workloads() {
		about += fmt.Sprintf("\n  %-11s %s (%s)", w.Name, w.About, strings.Join(slices.Concat(w.Tables, w.Inputs), ", "))
	}
	cmd := &cobra.Command{
		Use:   "bench WORKLOAD",
		Short: "Measure a workload on the embedded broker or a cluster",
		Long: "Measure a workload on the embedded broker or a cluster, and beside it a hand-written loop on the\n" +
			"same bytes.\n" + about +
			"\n  latency     count per key at a fixed rate, time from the intended send to the consumer" +
			"\n  restore     a table from its changelog (uniq-1)",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			switch guarantee {
			case "eos":
				o.Guarantee = runtime.ExactlyOnce
			case "alo":
				o.Guarantee = runtime.AtLeastOnce
			default:
				return fmt.Errorf("-guarantee %q: want eos or alo", guarantee)
			}
			if o.Sync, err = broker.ParseSync(sync); err != nil {
				return err
			}
			o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				o.Profile = f
			}
			r, err := workload.Run(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			return printResult(cmd.OutOrStdout(), r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Brokers, "brokers", "embedded", "embedded, or HOST:PORT addresses of a cluster")
	f.StringVar(&sync, "sync", "group", "the embedded broker's: group, os, always or never")
	f.IntVar(&o.Records, "records", 0, "only the first so many of the data set")
	f.StringVar(&o.Input, "input", "", "use what this topic holds instead of the data set")
	f.StringVar(&guarantee, "guarantee", "eos", "eos (exactly-once) or alo (at-least-once)")
	f.DurationVar(&o.Commit, "commit", 0, "time between commits (0: between 10 and 100 ms, by the load)")
	f.IntVar(&o.Workers, "workers", goruntime.GOMAXPROCS(0), "tasks that run at the same time")
	f.BoolVar(&o.AsWritten, "as-written", false, "run the topology without the optimizer's rules")
	f.BoolVar(&o.Filled, "filled", false, "fill the embedded broker's topics before the clock runs, as a cluster's are")
	f.BoolVar(&o.NoLocal, "requests", false, "send requests to the embedded broker, too")
	f.Int32Var(&o.Partitions, "partitions", 0, "of the input: wordcount has 1 or 4 (0: what the workload names)")
	f.StringVar(&o.Elsewhere, "elsewhere", "", "latency: another process has the application, which reads NAME-in and "+
		"writes NAME-out: only send and receive")
	f.IntVar(&o.Rate, "rate", 50_000, "latency: records per second")
	f.DurationVar(&o.Warmup, "warmup", 10*time.Second, "latency: before measuring")
	f.DurationVar(&o.Measure, "measure", 30*time.Second, "latency: how long to measure")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile to this file")
	return cmd
}

func printResult(w io.Writer, r workload.Result) error {
	unit := "records"
	if r.Words > 0 {
		unit = "words"
	}
	filled := ""
	if r.Filled {
		filled = ", filled before"
	}
	fmt.Fprintf(w, "%s: %s, %d workers, %d partitions, brokers %s%s\n", r.Workload, r.Guarantee, r.Workers,
		r.Partitions, r.Brokers, filled)
	fmt.Fprintf(w, "  %d records, %d words in %.2f s wall, %.2f s CPU (%.2f in the kernel), peak %.0f MiB\n",
		r.Records, r.Words, r.WallSeconds, r.CPUSeconds, r.KernelSeconds, r.PeakRSSMiB)
	fmt.Fprintf(w, "  %.2f M %s/s, %.2f M %s per CPU-second\n", r.PerSecond/1e6, unit, r.PerCPUSecond/1e6, unit)
	if r.ByHandNanos > 0 {
		fmt.Fprintf(w, "  by hand in memory %.0f ns each: %.1f times that\n", r.ByHandNanos, r.TimesByHand)
	}
	if l := r.LatencyMillis; l.Max > 0 {
		fmt.Fprintf(w, "  latency p50 %.1f ms, p99 %.1f, p99.9 %.1f, max %.1f\n", l.P50, l.P99, l.P999, l.Max)
	}
	_, err := fmt.Fprintf(w, "  checked: %s\n", r.Checked)
	return err
}
