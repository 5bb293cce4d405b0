// Wordcount counts the words of text files: a typed topology over a real repartition topic, a Pebble store with its
// changelog and an output topic, exactly once, on the bundled broker or on a cluster.
//
//	go run ./examples/wordcount [flags] [FILE|DIR …]
//
// Without arguments it counts the Go toolchain's own source. With -dir it can be killed at any moment and started
// again: it goes on where its last commit was. With -join further processes share the work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	goruntime "runtime"
	"syscall"

	"thalweg/examples/wordcount/program"
	"thalweg/runtime"
)

// options are the command line's.
type options struct {
	paths       []string
	all         bool
	dir         string
	brokers     string
	name        string
	atLeastOnce bool
	join        bool
	workers     int
	verbose     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o, os.Stdout, os.Stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("wordcount", flag.ContinueOnError)
	f.BoolVar(&o.all, "all", false, "print every word<TAB>count, sorted by word, and nothing else")
	f.StringVar(&o.dir, "dir", "", "keep the broker's log and the state here, and resume from it")
	f.StringVar(&o.brokers, "brokers", "", "use the cluster at these HOST:PORT addresses, separated by commas, "+
		"instead of the bundled broker")
	f.StringVar(&o.name, "name", "wordcount", "begins the application id and the names of the topics")
	f.BoolVar(&o.atLeastOnce, "alo", false, "at-least-once instead of exactly-once")
	f.BoolVar(&o.join, "join", false, "help another wordcount of the same files and name, until interrupted: feed and "+
		"print nothing (needs -brokers)")
	f.IntVar(&o.workers, "workers", goruntime.GOMAXPROCS(0), "tasks that run at the same time")
	f.BoolVar(&o.verbose, "v", false, "log what the application and the broker do")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: wordcount [flags] [FILE|DIR …]   (default: the Go toolchain's source)")
		f.PrintDefaults()
	}
	if err = f.Parse(args); err != nil {
		return o, err
	}
	if o.workers < 1 {
		return o, fmt.Errorf("-workers %d: at least one is needed", o.workers)
	}
	if o.join && o.brokers == "" {
		return o, errors.New("-join needs -brokers: the bundled broker is this process' own")
	}
	o.paths = f.Args()
	return o, nil
}

// run feeds the files, counts, waits until all is counted and committed, and prints.
func run(ctx context.Context, o options, out, status io.Writer) (err error) {
	in, err := findInput(ctx, o.paths)
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	logger := slog.New(slog.NewTextHandler(status, &slog.HandlerOptions{Level: level}))
	// Other files are another count: the input is part of every durable name.
	app := program.New(o.name + "-" + in.fingerprint())
	here, err := openPlace(ctx, o, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.close()) }()
	if err := here.client.Create(ctx, 0, app.Lines, app.Counts); err != nil {
		return err
	}
	counting, err := newApp(app, here.config, o.atLeastOnce)
	if err != nil {
		return err
	}
	if o.join {
		return counting.Run(ctx)
	}
	show := watch(status, counting)
	var fed int64
	err = counting.RunDuring(ctx, func(ctx context.Context) (err error) {
		if fed, err = feed(ctx, here.client, app, in, show); err != nil {
			return err
		}
		return counting.WaitCaughtUp(ctx)
	})
	took := show.done()
	if err != nil {
		return err
	}
	counts, err := readCounts(ctx, here.client, app)
	if err != nil {
		return err
	}
	if o.all {
		return printAll(out, counts)
	}
	return printTop(out, counts, fed, took)
}

func newApp(app program.Program, cfg runtime.Config, atLeastOnce bool) (*runtime.App, error) {
	topo, err := app.Build()
	if err != nil {
		return nil, err
	}
	cfg.ApplicationID = app.ApplicationID
	if atLeastOnce {
		cfg.Guarantee = runtime.AtLeastOnce
	}
	return runtime.New(topo, cfg)
}
