// Joins shows the three joins with the orders of a small shop: a stream with a table (receipts), a stream with a stream
// (payments within an hour), a table with a table by a foreign key (labels that follow the customer).
//
//	go run ./examples/joins [-brokers HOST:PORT,…]
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
	"thalweg/examples/joins/program"
	"thalweg/runtime"
)

func main() {
	brokers := flag.String("brokers", "", "HOST:PORT addresses of a cluster, instead of the bundled broker")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *brokers, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "joins:", err)
		os.Exit(1)
	}
}

// run tells the application a story, waits after each chapter until it has taken it in, and prints what came of it.
func run(ctx context.Context, brokers string, out io.Writer) (err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	here, err := place.Open(ctx, "joins", brokers, "", logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.Close()) }()
	topics, err := here.Create(ctx, program.ApplicationID,
		program.Customers.Name(), program.Orders.Name(), program.Payments.Name(),
		program.Receipts.Name(), program.Settlements.Name(), program.Labels.Name())
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
	err = place.Run(ctx, app, func(ctx context.Context) error {
		for _, chapter := range story(topics) {
			if err := chapter(ctx); err != nil {
				return err
			}
			if err := app.WaitCaughtUp(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return printAll(ctx, topics, out)
}
