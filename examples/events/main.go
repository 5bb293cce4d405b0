// Events runs a small bank by event sourcing. What happened to each account is a topic of events that nobody changes;
// every balance is computed from it, and can be computed again.
//
//	go run ./examples/events
//
// The bank is in bank.go: what it decides, what an event does to an account, and how the two become a topology.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/topology"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
}

// commands are what the customers ask for, in this order.
var commands = []struct {
	account string
	command Command
}{
	{"anna", Command{Do: "open"}},
	{"anna", Command{Do: "deposit", Cents: 120_00}},
	{"bo", Command{Do: "deposit", Cents: 5_00}}, // there is no such account yet
	{"bo", Command{Do: "open"}},
	{"bo", Command{Do: "deposit", Cents: 40_00}},
	{"anna", Command{Do: "withdraw", Cents: 100_00}},
	{"anna", Command{Do: "withdraw", Cents: 100_00}}, // she has 20 left
	{"bo", Command{Do: "withdraw", Cents: 40_00}},
	{"bo", Command{Do: "close"}},
	{"anna", Command{Do: "deposit", Cents: 7_50}},
}

// run carries out the commands, and prints accounts in three ways: by query, from their events, and after a rebuild.
func run(ctx context.Context, out io.Writer) (err error) {
	// The broker runs in this process, in a directory that is gone afterwards.
	dir, err := os.MkdirTemp("", "events-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := broker.Open(broker.Config{Dir: filepath.Join(dir, "broker"), Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	cfg := runtime.Config{
		ApplicationID: "bank",
		Broker:        b,
		State:         runtime.StateConfig{Dir: filepath.Join(dir, "state")},
		Workers:       1, // enough for so little
		Logger:        logger,
	}
	client, err := runtime.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Create(ctx, 4, Commands, Events); err != nil {
		return err
	}
	for _, c := range commands {
		if err := client.Put(ctx, Commands, c.account, c.command); err != nil {
			return err
		}
	}

	// Commands become events, and events become balances.
	topo, err := bank()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "balances")
	if err := process(ctx, topo, cfg, out); err != nil {
		return err
	}

	// How did Anna get there? Her events say it: applied one by one, they give her account at each moment.
	fmt.Fprintln(out, "\nthe events of anna")
	var account Account
	for r, err := range client.Read(ctx, Events, runtime.Earliest()) {
		if err != nil {
			return err
		}
		if r.Key != "anna" {
			continue
		}
		account = account.Apply(r.Value)
		fmt.Fprintf(out, "  %7s  after %s\n", money(account.Cents), r.Value)
	}

	// Another application with nothing but the events, years later perhaps, gets the same balances.
	topo, err = rebuilt()
	if err != nil {
		return err
	}
	cfg.ApplicationID = "rebuilt-bank"
	fmt.Fprintln(out, "\nbalances, rebuilt from the events")
	return process(ctx, topo, cfg, out)
}

// process runs an application until it has processed all of its input, and prints the balances that it has then.
func process(ctx context.Context, topo *topology.Topology, cfg runtime.Config, out io.Writer) error {
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	return app.RunDuring(ctx, func(ctx context.Context) error {
		if err := app.WaitCaughtUp(ctx); err != nil {
			return err
		}
		return printBalances(ctx, app, out)
	})
}

// printBalances queries the store, while the application runs.
func printBalances(ctx context.Context, app *runtime.App, out io.Writer) (err error) {
	if err := app.Checkpoint(ctx); err != nil { // otherwise a query sees what was there a second ago
		return err
	}
	view, err := app.View(Balances)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	for e, err := range Balances.Read(view.Reader).All() {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s\n", e.Value.line(e.Key))
	}
	return nil
}
