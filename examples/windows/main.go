// Windows counts the page views of a small site: per page and minute, as the counts grow and when they are final; per
// visit; and it shows the views that came too late.
//
//	go run ./examples/windows [-brokers HOST:PORT,…]
//
// It runs on the bundled broker in this process, or on a cluster, where it leaves nothing behind.
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
	"syscall"

	"thalweg/examples/internal/place"
	"thalweg/examples/windows/program"
	"thalweg/runtime"
)

func main() {
	brokers := flag.String("brokers", "", "HOST:PORT addresses of a cluster, instead of the bundled broker")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *brokers, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "windows:", err)
		os.Exit(1)
	}
}

// run sends the views, waits until all are counted, and prints what came of them.
func run(ctx context.Context, brokers string, out io.Writer) (err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	here, err := place.Open(ctx, "windows", brokers, "", logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.Close()) }()
	topics, err := here.Create(ctx, program.ApplicationID, program.Views.Name(), program.Running.Name(),
		program.Final.Name(), program.Late.Name(), program.Visits.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, topics.Close()) }()

	topo, err := program.Build()
	if err != nil {
		return err
	}
	app, err := runtime.New(topo, runtime.Config{
		ApplicationID: program.ApplicationID,
		Broker:        here.Broker,
		Seeds:         here.Seeds,
		StateDir:      here.StateDir,
		Logger:        logger,
	})
	if err != nil {
		return err
	}
	if err := topics.Send(ctx, program.Views, views()...); err != nil {
		return err
	}
	if err := place.Run(ctx, app, app.WaitCaughtUp); err != nil {
		return err
	}
	return printAll(ctx, topics, out)
}
