package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"thalweg/cmd/thalweg/internal/workload"
)

func rebalanceFlags(cmd *cobra.Command, o *workload.Options) {
	f := cmd.Flags()
	f.IntVar(&o.Processes, "processes", 4, "rebalance: of the application, before one joins")
	f.IntVar(&o.Standbys, "standbys", 0, "rebalance: how many other processes keep a copy of each task's state")
	f.IntVar(&o.WarmupsMax, "warmups", -1, "rebalance: how many tasks are copied at the same time before they move "+
		"(negative: they move at once)")
	f.DurationVar(&o.Session, "session", 10*time.Second, "rebalance: after how long without a sign of life a process is "+
		"given up")
}

// memberCommand is a process of the rebalance workload's application.
func memberCommand() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:    "member",
		Short:  "Run a process of an application, as the input says",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level(verbose)}))
			return workload.RunMember(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), log)
		},
	}
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log what the application does")
	return cmd
}

// printRebalance prints the result of the rebalance workload.
func printRebalance(w io.Writer, r workload.Result) error {
	b := r.Rebalance
	fmt.Fprintf(w, "%s: %s, %d processes of %d workers, %d tasks, %d standbys, %d warm-ups, session %.0f ms, brokers %s\n",
		r.Workload, r.Guarantee, b.Processes, r.Workers, r.Partitions, b.Standbys, b.WarmupsMax, b.SessionMillis, r.Brokers)
	fmt.Fprintf(w, "  %.0f records/s; cores taken: application %.2f, broker %.2f, sender and reader %.2f\n", r.PerSecond,
		b.AppCores, b.BrokerCores, b.OwnCores)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  event\ttook\ttasks\tstood still: median\tlongest\n")
	last := ""
	for _, s := range b.Standstills {
		event, took := s.Event, fmt.Sprintf("%.2f s", s.Seconds)
		if event == last {
			event, took = "", ""
		}
		kind := s.Kind
		if kind == "process" {
			kind = "of the process"
		}
		fmt.Fprintf(t, "  %s\t%s\t%d %s\t%.0f ms\t%.0f ms\n", event, took, s.Tasks, kind, s.MedianMillis, s.MaxMillis)
		last = s.Event
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  checked: %s\n", r.Checked)
	return err
}
