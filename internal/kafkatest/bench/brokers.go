package main

import (
	"context"
	"fmt"
	"strings"
)

// load is what the workloads of the broker alone measure, beside rates and latencies.
type load struct {
	BrokerNanos      float64 `json:"broker_ns"`
	BrokerRSSMiB     float64 `json:"broker_rss_mib"`
	BatchRecords     float64 `json:"batch_records"`
	CeilingPerSecond float64 `json:"ceiling_per_s"`
	OfCeiling        float64 `json:"of_ceiling"`
	IdleCores        float64 `json:"idle_cores"`
	IdleRSSMiB       float64 `json:"idle_rss_mib"`
	CreateSeconds    float64 `json:"create_s"`
	AlonePerSecond   float64 `json:"alone_per_s"`
	AloneNanos       float64 `json:"alone_broker_ns"`
}

// isLoad says whether a workload is one of the broker alone.
func isLoad(workload string) bool { return strings.HasPrefix(workload, "broker-") }

// bundled is the client on the bundled broker, which is a new process for each run.
type bundled struct{ *thalweg }

func (b bundled) run(ctx context.Context) (result, error) {
	return b.bench(ctx, "--brokers", "process", "--sync", b.o.sync)
}

// cluster is the same client on Apache Kafka.
type cluster struct{ *thalweg }

func (c cluster) run(ctx context.Context) (result, error) {
	return c.bench(ctx, "--brokers", c.o.brokers)
}

// compareBrokers runs one client on both brokers in turns.
func compareBrokers(ctx context.Context, o options, client *thalweg) error {
	if _, err := (cluster{client}).run(ctx); err != nil { // the JVM warms up
		return err
	}
	return inTurns(ctx, o, bundled{client}, cluster{client})
}

// loadRows are the rows of what a workload of the broker alone measures.
func (p pairs) loadRows() (rows []row) {
	nanos := func(v float64) string { return fmt.Sprintf("%.0f ns", v) }
	count := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	seconds := func(v float64) string { return fmt.Sprintf("%.1f s", v) }
	share := func(v float64) string { return fmt.Sprintf("%.4f", v) }
	for _, r := range []row{
		{"per second", thousands, func(r result) float64 { return r.PerSecond }, more},
		{"broker CPU per record", nanos, func(r result) float64 { return r.Load.BrokerNanos }, less},
		{"records in a batch", count, func(r result) float64 { return r.Load.BatchRecords }, more},
		{"the client's ceiling", thousands, func(r result) float64 { return r.Load.CeilingPerSecond }, more},
		{"share of the ceiling", ratio, func(r result) float64 { return r.Load.OfCeiling }, more},
		{"latency p50", milliseconds, func(r result) float64 { return r.Latency.P50 }, less},
		{"latency p99", milliseconds, func(r result) float64 { return r.Latency.P99 }, less},
		{"per second, no idle topics", thousands, func(r result) float64 { return r.Load.AlonePerSecond }, more},
		{"broker CPU per record then", nanos, func(r result) float64 { return r.Load.AloneNanos }, less},
		{"idle topics created in", seconds, func(r result) float64 { return r.Load.CreateSeconds }, less},
		{"idle, share of a core", share, func(r result) float64 { return r.Load.IdleCores }, less},
		{"idle, resident", megabytes, func(r result) float64 { return r.Load.IdleRSSMiB }, less},
		{"resident at the end", megabytes, func(r result) float64 { return r.Load.BrokerRSSMiB }, less},
	} {
		if r.value(p[0].ours) > 0 || r.value(p[0].theirs) > 0 {
			rows = append(rows, r)
		}
	}
	return rows
}

// loadSettings is what has to be said with a figure of a workload of the broker alone.
func loadSettings(o options) string {
	batches := ""
	if o.batch > 0 {
		batches = fmt.Sprintf(", batches of %d bytes at most", o.batch)
	}
	return fmt.Sprintf("%s: franz-go in a process of its own, acks=all, 100-byte values, no compression%s; the "+
		"bundled broker in another process, sync %s; Apache Kafka 4.3.1, JVM warm, fsync left to the system", o.workload,
		batches, o.sync)
}
