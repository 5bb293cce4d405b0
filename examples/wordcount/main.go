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

	"thalweg/examples/internal/place"
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
	here, err := place.Open(ctx, "wordcount", o.brokers, o.dir, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	client, err := feeder(here)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := createTopics(ctx, client, app); err != nil {
		return err
	}
	counting, err := start(app, here, o, logger)
	if err != nil {
		return err
	}
	if o.join {
		return counting.Run(ctx)
	}
	ran := make(chan error, 1)
	go func() {
		err := counting.Run(ctx)
		if err != nil {
			cancel(err)
		}
		ran <- err
	}()
	show := watch(status, counting)
	fed, err := feed(ctx, client, app, in, show)
	if err == nil {
		err = counting.WaitCaughtUp(ctx)
	}
	took := show.done()
	closeErr := counting.Close(context.WithoutCancel(ctx))
	if runErr := <-ran; runErr != nil {
		return runErr
	}
	if err = errors.Join(err, closeErr); err != nil {
		return err
	}
	counts, err := readCounts(ctx, here, app)
	if err != nil {
		return err
	}
	if o.all {
		return printAll(out, counts)
	}
	return printTop(out, counts, fed, took)
}

func start(app program.Program, here *place.Place, o options, logger *slog.Logger) (*runtime.App, error) {
	topo, err := app.Build()
	if err != nil {
		return nil, err
	}
	cfg := runtime.Config{
		ApplicationID: app.ApplicationID,
		Broker:        here.Broker,
		Seeds:         here.Seeds,
		StateDir:      here.StateDir,
		Workers:       o.workers,
		Logger:        logger,
	}
	if o.atLeastOnce {
		cfg.Guarantee = runtime.AtLeastOnce
	}
	return runtime.New(topo, cfg)
}
