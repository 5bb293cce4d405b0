package main

import (
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"

	"thalweg/cmd/thalweg/internal/workload"
)

// sinkCommand is the server that the ceiling of a client is measured against.
func sinkCommand() *cobra.Command {
	var listen string
	var partitions int
	var keep bool
	cmd := &cobra.Command{
		Use:    "sink",
		Short:  "Answer a client as a broker does, and store nothing",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("sink: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "listening on %s, storing nothing\n", l.Addr())
			go func() {
				<-cmd.Context().Done()
				_ = l.Close() // ends Serve
			}()
			return workload.NewSink(partitions, keep).Serve(l)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:0", "address to accept connections on")
	f.IntVar(&partitions, "partitions", 6, "of the topic, which has any name")
	f.BoolVar(&keep, "keep", false, "keep what is produced in memory, to be consumed")
	return cmd
}

// printLoad prints the result of a workload of the broker alone.
func printLoad(w io.Writer, r workload.Result) error {
	sync := ""
	if r.Sync != "" {
		sync = ", sync " + r.Sync
	}
	fmt.Fprintf(w, "%s: brokers %s%s, %d partitions\n", r.Workload, r.Brokers, sync, r.Partitions)
	fmt.Fprintf(w, "  %d records in %.2f s wall, %.0fk records/s, client %.2f s CPU\n",
		r.Records, r.WallSeconds, r.PerSecond/1e3, r.CPUSeconds)
	l := r.Load
	fmt.Fprintf(w, "  broker: %.2f s CPU, %.0f ns for each record; %.0f MiB resident, peak %.0f MiB\n",
		r.BrokerCPU, l.BrokerNanos, l.BrokerRSSMiB, r.BrokerRSSMiB)
	if l.BatchRecords > 0 {
		fmt.Fprintf(w, "  %.0f records in a batch of the client\n", l.BatchRecords)
	}
	if l.CeilingPerSecond > 0 {
		fmt.Fprintf(w, "  the client's ceiling: %.0fk records/s, this is %.2f of it\n", l.CeilingPerSecond/1e3, l.OfCeiling)
	}
	if l.AlonePerSecond > 0 {
		fmt.Fprintf(w, "  idle topics created in %.1f s; idle: %.4f of a core, %.0f MiB resident\n", l.CreateSeconds,
			l.IdleCores, l.IdleRSSMiB)
		fmt.Fprintf(w, "  without the idle topics: %.0fk records/s, broker %.0f ns for each\n", l.AlonePerSecond/1e3,
			l.AloneNanos)
	}
	printLatency(w, r.LatencyMillis)
	_, err := fmt.Fprintf(w, "  checked: %s\n", r.Checked)
	return err
}

func printLatency(w io.Writer, l workload.Latency) {
	if l.Max > 0 {
		fmt.Fprintf(w, "  latency p50 %.1f ms, p99 %.1f, p99.9 %.1f, max %.1f\n", l.P50, l.P99, l.P999, l.Max)
	}
}
