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
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/broker"
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
	cfg, closeBroker, err := configure(brokers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBroker()) }()
	client, err := runtime.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return err
	}
	topics := []runtime.Named{
		program.Views, program.Running, program.Final, program.Late, program.Visits,
	}
	if err := mustBeNew(ctx, client, topics); err != nil {
		return err
	}
	if err := client.Create(ctx, 1, topics...); err != nil {
		return err
	}
	defer func() { // on a cluster nothing is left behind
		left := context.WithoutCancel(ctx)
		err = errors.Join(err, client.Delete(left, topics...), client.Reset(left, program.ApplicationID))
	}()
	topo, err := program.Build()
	if err != nil {
		return err
	}
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	if err := client.Send(ctx, program.Views, views()...); err != nil {
		return err
	}
	if err := app.RunDuring(ctx, app.WaitCaughtUp); err != nil {
		return err
	}
	return printAll(ctx, client, out)
}

// mustBeNew refuses topics that exist: they may be somebody else's, and all of them are deleted at the end.
func mustBeNew(ctx context.Context, client *runtime.Client, topics []runtime.Named) error {
	for _, t := range topics {
		if _, err := client.Offsets(ctx, t, runtime.Earliest()); err == nil {
			return fmt.Errorf("topic %s exists, of another run? thalweg topics delete %s", t.Name(), t.Name())
		}
	}
	return nil
}

// configure opens the bundled broker, unless there is a cluster. Everything is in memory.
func configure(brokers string) (cfg runtime.Config, closeBroker func() error, err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg = runtime.Config{ApplicationID: program.ApplicationID, Logger: logger}
	cfg.State.FS = vfs.NewMem()
	if brokers != "" {
		cfg.Seeds = strings.Split(brokers, ",")
		return cfg, func() error { return nil }, nil
	}
	local, err := broker.Open(broker.Config{Logger: logger})
	if err != nil {
		return cfg, nil, err
	}
	cfg.Broker = local
	return cfg, local.Close, nil
}
