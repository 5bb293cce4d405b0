// Bench runs a workload of "thalweg bench" and the same as an application of Kafka Streams (Bench.java) in turns, over
// the same topics of one Apache Kafka, and prints both with their ratio. The workloads of the broker alone run in turns
// on the bundled broker and on Apache Kafka, with the same client.
//
//	go run ./internal/kafkatest/bench -w wordcount        (or: make bench-kafka W=wordcount)
//
// Kafka Streams runs in one JVM that is warm: its first run does not count, and neither does the first of ours, which
// fills the topics. It needs Java 17 and Maven.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the command line's.
type options struct {
	workload   string
	pairs      int
	brokers    string
	native     bool
	guarantee  string
	commit     time.Duration
	threads    int
	partitions int
	passes     int
	records    int
	tuned      bool
	heap       string
	rate       int
	warmup     time.Duration
	measure    time.Duration
	sync       string
	topics     int
	batch      int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.workload, "w", "", "the workload: "+strings.Join(workloads, ", "))
	f.IntVar(&o.pairs, "pairs", 3, "how many runs of each, in turns")
	f.StringVar(&o.brokers, "brokers", "", "a Kafka that runs already (default: start one on loopback)")
	f.BoolVar(&o.native, "native", false, "run ours on its bundled broker, whose processor time counts as ours")
	f.StringVar(&o.guarantee, "guarantee", "eos", "eos (exactly-once) or alo (at-least-once)")
	f.DurationVar(&o.commit, "commit", 0, "time between commits, of both (0: the default of each)")
	f.IntVar(&o.threads, "threads", 1, "workers of ours, threads of Kafka Streams")
	f.IntVar(&o.partitions, "partitions", 0, "of the input: wordcount has 1 or 4, large and huge any (0: what the "+
		"workload names)")
	f.IntVar(&o.passes, "passes", 1, "large, huge: how many times the records follow each other")
	f.IntVar(&o.records, "records", 0, "only the first so many of the data set")
	f.BoolVar(&o.tuned, "tuned", false, "Kafka Streams with large fetches and batches, 256 MB of cache, commits each "+
		"second, and the parallel collector")
	f.StringVar(&o.heap, "heap", "2g", "the JVM's largest heap")
	f.IntVar(&o.rate, "rate", 0, "latency, broker-e2e: records per second (0: 50,000, and 10,000 of broker-e2e)")
	f.DurationVar(&o.warmup, "warmup", 10*time.Second, "latency, broker-small, -e2e, -many: before measuring")
	f.DurationVar(&o.measure, "measure", 30*time.Second, "latency, broker-small, -e2e, -many: how long to measure")
	f.StringVar(&o.sync, "sync", "group", "broker-*: when the bundled broker forces records to the disk")
	f.IntVar(&o.batch, "batch", 0, "broker-produce, -consume, -many: bytes of a batch at most (0: the client's default)")
	f.IntVar(&o.topics, "topics", 0, "broker-many: how many topics (0: 1,000)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case !isWorkload(o.workload):
		return o, fmt.Errorf("-w %q: want one of %s", o.workload, strings.Join(workloads, ", "))
	case o.pairs < 1:
		return o, fmt.Errorf("-pairs %d: at least one is needed", o.pairs)
	case o.guarantee != "eos" && o.guarantee != "alo":
		return o, fmt.Errorf("-guarantee %q: want eos or alo", o.guarantee)
	}
	return o, nil
}

// quiet lets Kafka Streams log errors only.
const quiet = `<Configuration status="WARN">
  <Appenders><Console name="err" target="SYSTEM_ERR"><PatternLayout pattern="%p %m (%c)%n"/></Console></Appenders>
  <Loggers><Root level="ERROR"><AppenderRef ref="err"/></Root></Loggers>
</Configuration>
`

// run prepares both sides, lets them run in turns and prints what they did.
func run(ctx context.Context, o options) (err error) {
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-kafka-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	script := filepath.Join(root, "internal/kafkatest/kafka")
	if _, err := output(ctx, root, script, "jars"); err != nil {
		return fmt.Errorf("the jars of Apache Kafka (is Maven installed?): %w", err)
	}
	jars := filepath.Join(root, ".kafka/conf") + ":" + filepath.Join(root, ".kafka/lib") + "/*"
	binary := filepath.Join(dir, "thalweg")
	if _, err := output(ctx, root, "go", "build", "-o", binary, "./cmd/thalweg"); err != nil {
		return err
	}
	if o.brokers == "" {
		if o.brokers, err = output(ctx, root, script, "start"); err != nil {
			return err
		}
		defer func() {
			_, stopErr := output(context.WithoutCancel(ctx), root, script, "stop")
			err = errors.Join(err, stopErr)
		}()
	}
	ours := &thalweg{o: o, binary: binary}
	if isLoad(o.workload) {
		return compareBrokers(ctx, o, ours)
	}
	source := filepath.Join(root, "internal/kafkatest/bench/Bench.java")
	if _, err := output(ctx, root, "javac", "-d", dir, "-cp", jars, source); err != nil {
		return fmt.Errorf("compile Bench.java (is Java 17 installed?): %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log4j2.xml"), []byte(quiet), 0o644); err != nil {
		return err
	}
	first, err := ours.fill(ctx)
	if err != nil {
		return err
	}
	theirs, err := startKafkaStreams(ctx, o, dir, jars, first)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.close()) }()
	if o.workload == "latency" {
		return inTurns(ctx, o, ours, &latencyThere{ours: ours, app: theirs})
	}
	if _, err := theirs.run(ctx); err != nil { // the JVM warms up
		return err
	}
	return inTurns(ctx, o, ours, theirs)
}

// side is one of the two that are compared.
type side interface {
	run(ctx context.Context) (result, error)
}

// inTurns runs one pair after the other; the one that begins changes each time.
func inTurns(ctx context.Context, o options, ours, theirs side) error {
	var all pairs
	for n := range o.pairs {
		sides := [2]side{ours, theirs}
		var got [2]result
		for i := range sides {
			at := (i + n) % 2
			var err error
			if got[at], err = sides[at].run(ctx); err != nil {
				return err
			}
		}
		if err := same(o.workload, got[0], got[1]); err != nil {
			return err
		}
		all = append(all, pair{got[0], got[1]})
		fmt.Fprintf(os.Stderr, "pair %d: %s\n", n+1, all[n:].summary())
	}
	fmt.Print(all.report(o))
	return nil
}

// output runs a command and returns the last line of what it printed.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
}
