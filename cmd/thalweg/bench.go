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
	var partitions []int32
	cmd := &cobra.Command{
		Use:     "bench WORKLOAD",
		Short:   "Measure a workload on the embedded broker or a cluster",
		Long:    aboutBench(),
		Example: "  thalweg bench wordcount -records 1000000",
		Args:    cobra.ExactArgs(1),
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
			o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level(o.Verbose)}))
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				o.Profile = f
			}
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			if workload.NeedsProcess(args[0]) && !cmd.Flags().Changed("brokers") {
				o.Brokers = "process"
			}
			for _, o.Partitions = range partitions {
				r, err := workload.Run(cmd.Context(), args[0], o)
				if err == nil && asJSON {
					err = json.NewEncoder(cmd.OutOrStdout()).Encode(r)
				} else if err == nil {
					err = printResult(cmd.OutOrStdout(), r)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&sync, "sync", "group", "when the embedded broker, or that of --brokers process, forces records to "+
		"the disk: group, os, always or never")
	f.StringVar(&guarantee, "guarantee", "eos", "eos (exactly-once) or alo (at-least-once)")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON")
	f.BoolVar(&o.Verbose, "verbose", false, "log what the application does, with the progress of a restore")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile of the application to this file; not with latency, "+
		"restore, rebalance and broker-*")
	f.StringVar(&o.BrokerProfile, "broker-cpuprofile", "", "with --brokers process: write a CPU profile of the broker, "+
		"from its start, to this file")
	f.Int32SliceVar(&partitions, "partitions", []int32{0}, "of the input, a run for each: wordcount has 1 or 4, "+
		"large, huge, tasks, rebalance, broker-produce, -consume and -small any (0: what the workload names)")
	benchFlags(cmd, &o)
	cmd.AddCommand(sinkCommand(), memberCommand())
	return cmd
}

// aboutBench lists the workloads.
func aboutBench() string {
	about := "Measure a workload on the embedded broker or a cluster, and beside it a hand-written loop on the\n" +
		"same bytes.\n"
	for _, w := range workload.Workloads() {
		about += fmt.Sprintf("\n  %-18s %s (%s)", w.Name, w.About, strings.Join(slices.Concat(w.Tables, w.Inputs), ", "))
	}
	return about + "\n  latency            count per key at a fixed rate, time from the intended send to the consumer" +
		"\n  restore            a table from its changelog (uniq-1)" +
		"\n  tasks              two tasks for each partition: start, idle, count behind a repartition topic, close (many-1)" +
		"\n  rebalance          count per key in several processes, of which one joins, one is killed, closed, replaced:" +
		"\n                     how long results stand still" +
		"\n\nThese measure the broker alone. It runs in a process of its own, or --brokers names a cluster.\n" +
		workload.AboutLoads()
}

func benchFlags(cmd *cobra.Command, o *workload.Options) {
	f := cmd.Flags()
	f.StringVar(&o.Brokers, "brokers", "embedded", "embedded, or process for a broker in a process of its own, "+
		"or HOST:PORT addresses of a cluster")
	f.IntVar(&o.Records, "records", 0, "only the first so many of the data set")
	f.StringVar(&o.Input, "input", "", "use what this topic holds instead of the data set")
	f.DurationVar(&o.Commit, "commit", 0, "time between commits (0: between 10 and 100 ms, by the load)")
	f.IntVar(&o.Workers, "workers", goruntime.GOMAXPROCS(0), "tasks that run at the same time")
	f.IntVar(&o.Garbage, "garbage", 0, "bytes that a function of the program allocates for each record of a stream")
	f.DurationVar(&o.Call, "call", 0, "for which a function of the program sleeps at each record of a stream")
	f.DurationVar(&o.Delay, "delay", 0, "of each request of the application, as a network has it; needs a broker in "+
		"another process")
	f.BoolVar(&o.AsWritten, "as-written", false, "run the topology without the optimizer's rules")
	f.BoolVar(&o.Filled, "filled", false, "fill the embedded broker's topics before the clock runs, as a cluster's are")
	f.BoolVar(&o.NoLocal, "requests", false, "send requests to the embedded broker, too")
	f.IntVar(&o.Keys, "keys", 0, "large, huge, restore: how many keys the data set has (0: as defined)")
	f.IntVar(&o.Passes, "passes", 1, "large, huge: how many times the records follow each other")
	f.IntVar(&o.Steps, "steps", 0, "large, huge: parts of the input to report (0: four for each pass)")
	f.Int64Var(&o.MemoryBytesMax, "memory", 0, "bytes of memory of the application's process (0: half of what "+
		"the container or the machine has)")
	f.Int64Var(&o.CacheBytesMax, "cache", 0, "bytes of the cache of rows (0: what the workload sets)")
	f.Int64Var(&o.BlockCacheBytesMax, "block-cache", 0, "bytes of the engine's block cache (0: what the workload sets)")
	f.StringVar(&o.Application, "application", "", "large, huge: go on with the application of this ID, after a crash; "+
		"needs --state and a cluster")
	f.StringVar(&o.StateDir, "state", "", "directory of the application's state (empty: a temporary one)")
	f.StringVar(&o.Elsewhere, "elsewhere", "", "latency: another process has the application, which reads NAME-in and "+
		"writes NAME-out: only send and receive")
	f.IntVar(&o.Rate, "rate", 0, "latency, rebalance, broker-e2e: records per second (0: 50,000, and 10,000 of "+
		"broker-e2e)")
	f.Int32Var(&o.BatchBytes, "batch", 0, "bytes of a batch of the application; of a client at most, with "+
		"broker-produce, -consume and -many (0: the default of either)")
	f.IntVar(&o.Topics, "topics", 0, "broker-many: how many topics (0: 1,000)")
	f.DurationVar(&o.Warmup, "warmup", 10*time.Second, "latency, tasks, rebalance, broker-small, -e2e, -many: before "+
		"measuring")
	f.DurationVar(&o.Measure, "measure", 30*time.Second, "latency, tasks, rebalance, broker-small, -e2e, -many: how long "+
		"to measure; of rebalance, after each event")
	rebalanceFlags(cmd, o)
}

func printResult(w io.Writer, r workload.Result) error {
	switch {
	case r.Guarantee == "":
		return printLoad(w, r)
	case r.Rebalance.Processes > 0:
		return printRebalance(w, r)
	}
	unit := "records"
	if r.Words > 0 {
		unit = "words"
	}
	filled := ""
	if r.Filled {
		filled = ", filled before"
	}
	if r.DelayMillis > 0 {
		filled += fmt.Sprintf(", %.1f ms away", r.DelayMillis)
	}
	fmt.Fprintf(w, "%s: %s, %d workers, %d partitions, brokers %s%s\n", r.Workload, r.Guarantee, r.Workers,
		r.Partitions, r.Brokers, filled)
	fmt.Fprintf(w, "  %d records, %d words in %.2f s wall, %.2f s CPU (%.2f in the kernel), peak %.0f MiB\n",
		r.Records, r.Words, r.WallSeconds, r.CPUSeconds, r.KernelSeconds, r.PeakRSSMiB)
	fmt.Fprintf(w, "  %.2f M %s/s, %.2f M %s per CPU-second\n", r.PerSecond/1e6, unit, r.PerCPUSecond/1e6, unit)
	for _, s := range r.Steps {
		fmt.Fprintf(w, "  to %11d records: %7.2f s wall, %7.2f s CPU, %4.0fk records per CPU-second, %4.0f MiB resident\n",
			s.Records, s.WallSeconds, s.CPUSeconds, s.PerCPUSecond/1e3, s.RSSMiB)
	}
	if r.BrokerCPU > 0 {
		fmt.Fprintf(w, "  broker: %.2f s CPU, peak %.0f MiB\n", r.BrokerCPU, r.BrokerRSSMiB)
	}
	if t := r.Tasks; t.StartSeconds > 0 {
		fmt.Fprintf(w, "  started in %.2f s (%.2f s CPU), idle: %.4f of a core, %.0f MiB resident; closed in %.2f s\n",
			t.StartSeconds, t.StartCPUSeconds, t.IdleCores, t.IdleRSSMiB, t.CloseSeconds)
	}
	if r.ByHandNanos > 0 {
		fmt.Fprintf(w, "  by hand in memory %.0f ns each: %.1f times that\n", r.ByHandNanos, r.TimesByHand)
	}
	printLatency(w, r.LatencyMillis)
	_, err := fmt.Fprintf(w, "  checked: %s\n", r.Checked)
	return err
}
