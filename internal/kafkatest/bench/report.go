package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// pair is a run of each.
type pair struct{ ours, theirs result }

type pairs []pair

// same says whether two runs did the same work: as many records, as many results.
func same(workload string, ours, theirs result) error {
	switch {
	case isLoad(workload) || ours.Latency.Max > 0:
		return nil // each has checked itself
	case ours.Records != theirs.Records || ours.Words != theirs.Words:
		return fmt.Errorf("ours processed %d records with %d words, Kafka Streams %d with %d", ours.Records, ours.Words,
			theirs.Records, theirs.Words)
	case workload == "restore":
		if theirs.Results < theirs.Records {
			return fmt.Errorf("restore: Kafka Streams read %d records, not %d", theirs.Results, theirs.Records)
		}
		return nil // ours has checked itself
	case workload == "session":
		// A record may come within the gap of a session that has expired (docs/semantics.md, rule cachedExpired). Kafka
		// Streams merges the two if its cache still has the old one, whose deletion it then does not write: its counts
		// can add up to more than the input.
		return nil
	case ours.Results != theirs.Results:
		return fmt.Errorf("ours: %s; Kafka Streams: %s: not the same", ours.Checked, theirs.Checked)
	}
	return nil
}

// row is a line of the report: a figure of each run. A ratio above one means that ours is better.
type row struct {
	name   string
	format func(float64) string
	value  func(result) float64
	ratio  func(ours, theirs float64) float64
}

func more(ours, theirs float64) float64 { return ours / theirs }
func less(ours, theirs float64) float64 { return theirs / ours }

func (p pairs) rows() []row {
	if p[0].ours.Load != (load{}) {
		return p.loadRows()
	}
	if p[0].ours.Latency.Max > 0 {
		return []row{
			{"latency p50", milliseconds, func(r result) float64 { return r.Latency.P50 }, less},
			{"latency p99", milliseconds, func(r result) float64 { return r.Latency.P99 }, less},
			{"latency p99.9", milliseconds, func(r result) float64 { return r.Latency.P999 }, less},
			{"latency max", milliseconds, func(r result) float64 { return r.Latency.Max }, less},
		}
	}
	unit := p.unit()
	return []row{
		{unit + "s per second", thousands, func(r result) float64 { return r.PerSecond }, more},
		{unit + "s per CPU-second", thousands, func(r result) float64 { return r.PerCPUSecond }, more},
		{"CPU time per " + unit, func(v float64) string { return fmt.Sprintf("%.0f ns", v) },
			func(r result) float64 { return 1e9 / r.PerCPUSecond }, less},
		{"wall time", func(v float64) string { return fmt.Sprintf("%.2f s", v) },
			func(r result) float64 { return r.WallSeconds }, less},
		{"peak resident memory", megabytes, func(r result) float64 { return r.PeakRSSMiB }, less},
	}
}

func milliseconds(v float64) string { return fmt.Sprintf("%.1f ms", v) }

func (p pairs) unit() string {
	if p[0].ours.Words > 0 {
		return "word"
	}
	return "record"
}

// column returns the figures of one side, or their ratios, sorted.
func (p pairs) column(f func(pair) float64) []float64 {
	var out []float64
	for _, pair := range p {
		out = append(out, f(pair))
	}
	slices.Sort(out)
	return out
}

// report is the table of medians, each with its range.
func (p pairs) report(o options) string {
	var b strings.Builder
	settings, there := p.settings(o), "Kafka Streams 4.3.1"
	if isLoad(o.workload) {
		settings, there = loadSettings(o), "Apache Kafka 4.3.1"
	}
	fmt.Fprintln(&b, settings)
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "median (range) of %d\tthalweg\t%s\tratio\n", len(p), there)
	for _, r := range p.rows() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.name,
			spread(p.column(func(p pair) float64 { return r.value(p.ours) }), r.format),
			spread(p.column(func(p pair) float64 { return r.value(p.theirs) }), r.format),
			spread(p.column(func(p pair) float64 { return r.ratio(r.value(p.ours), r.value(p.theirs)) }), ratio))
	}
	_ = w.Flush() // to a builder
	last := p[len(p)-1]
	if last.ours.Latency.Max == 0 {
		fmt.Fprintf(&b, "results: %s; %s\n", last.ours.Checked, last.theirs.Checked)
	}
	return b.String()
}

// summary is a pair in a few words.
func (p pairs) summary() string {
	r := p.rows()[1]
	ours, theirs := r.value(p[0].ours), r.value(p[0].theirs)
	return fmt.Sprintf("%s %s and %s, ratio %s", r.name, r.format(ours), r.format(theirs), ratio(r.ratio(ours, theirs)))
}

// settings is all that has to be said with a figure.
func (p pairs) settings(o options) string {
	guarantee, commit := "exactly-once", 100*time.Millisecond
	if o.guarantee == "alo" {
		guarantee, commit = "at-least-once", 30*time.Second
	}
	if o.tuned {
		commit = time.Second
	}
	commits := fmt.Sprintf("commit interval 10 to 100 ms by load (Kafka Streams: %v)", commit)
	if o.commit > 0 {
		commits = fmt.Sprintf("commit interval %v", o.commit)
	}
	brokers := "the same topics of Apache Kafka 4.3.1"
	if o.native {
		brokers = "ours on its bundled broker in the same process, Kafka Streams on Apache Kafka 4.3.1"
	}
	tuned := "with its defaults"
	if o.tuned {
		tuned = "tuned (fetches of 16 MB, batches of 256 KB, cache of 256 MB, parallel collector)"
	}
	rate := ""
	if o.workload == "latency" {
		rate = fmt.Sprintf(", %d records/s", cmp.Or(o.rate, 50_000))
	}
	return fmt.Sprintf("%s%s: %s, %s, %d input partition(s), %d worker(s) or thread(s); %s; Kafka Streams %s, JVM warm, "+
		"heap %s", o.workload, rate, guarantee, commits, p[0].ours.Partitions, o.threads, brokers, tuned, o.heap)
}

// spread is the median of sorted values with their range.
func spread(sorted []float64, format func(float64) string) string {
	if len(sorted) == 1 {
		return format(sorted[0])
	}
	return fmt.Sprintf("%s (%s–%s)", format(median(sorted)), format(sorted[0]), format(sorted[len(sorted)-1]))
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func thousands(v float64) string {
	if v >= 1e6 {
		return fmt.Sprintf("%.2f M", v/1e6)
	}
	return fmt.Sprintf("%.0f k", v/1e3)
}

func megabytes(v float64) string { return fmt.Sprintf("%.0f MiB", v) }

func ratio(v float64) string { return fmt.Sprintf("%.2f", v) }
