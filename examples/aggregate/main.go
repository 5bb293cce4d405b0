// Aggregate sums up orders per customer: values that are structs, an aggregate of each key in a Pebble store, and the
// table read back by a query of that store, on the bundled broker in this process or on a cluster.
//
//	go run ./examples/aggregate [-orders N] [-customers N] [-seed N] [-dir D] [-brokers HOST:PORT,…]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/broker"
	"thalweg/examples/aggregate/program"
	"thalweg/runtime"
	"thalweg/topology"
)

// options are the command line's.
type options struct {
	orders, customers int
	seed              uint64
	dir, brokers      string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "aggregate:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("aggregate", flag.ContinueOnError)
	f.IntVar(&o.orders, "orders", 100_000, "how many orders are made up")
	f.IntVar(&o.customers, "customers", 10, "how many customers there are")
	f.Uint64Var(&o.seed, "seed", 1, "of the generator of orders")
	f.StringVar(&o.dir, "dir", "", "keep the broker's log and the state here: each run adds its orders to those before")
	f.StringVar(&o.brokers, "brokers", "", "HOST:PORT addresses of a cluster, instead of the bundled broker")
	if err = f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: there are no arguments but flags", f.Arg(0))
	case o.orders < 0 || o.customers < 1:
		return o, fmt.Errorf("-orders %d -customers %d: at least no order and one customer", o.orders, o.customers)
	}
	return o, nil
}

// run makes orders, waits until all are summed up, and prints the table.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	cfg, closeBroker, err := configure(o)
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
	if err := client.Create(ctx, 0, program.Orders, program.Summaries); err != nil {
		return err
	}
	if err := client.SendAll(ctx, program.Orders, generate(o)); err != nil {
		return err
	}
	topo, err := program.Build()
	if err != nil {
		return err
	}
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	return app.RunDuring(ctx, func(ctx context.Context) error {
		if err := app.WaitCaughtUp(ctx); err != nil {
			return err
		}
		return printTable(ctx, app, out)
	})
}

// configure opens the bundled broker, unless there is a cluster. Without -dir everything is in memory.
func configure(o options) (cfg runtime.Config, closeBroker func() error, err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg = runtime.Config{ApplicationID: "aggregate", Logger: logger}
	bundled := broker.Config{Logger: logger}
	if o.dir == "" {
		cfg.State.FS = vfs.NewMem()
	} else {
		cfg.State.Dir, bundled.Dir = filepath.Join(o.dir, "state"), filepath.Join(o.dir, "broker")
	}
	if o.brokers != "" {
		cfg.Seeds = strings.Split(o.brokers, ",")
		return cfg, func() error { return nil }, nil
	}
	local, err := broker.Open(bundled)
	if err != nil {
		return cfg, nil, err
	}
	cfg.Broker = local
	return cfg, local.Close, nil
}

// generate yields orders that only the seed decides, keyed by customer.
func generate(o options) iter.Seq[topology.Record[string, program.Order]] {
	return func(yield func(topology.Record[string, program.Order]) bool) {
		items := [...]string{"bread", "butter", "coffee", "milk", "tea"}
		r := rand.New(rand.NewPCG(o.seed, 0))
		for n := range o.orders {
			customer := fmt.Sprintf("customer-%03d", r.IntN(o.customers))
			order := program.Order{Number: int64(n + 1), Item: items[r.IntN(len(items))], Cents: 1 + r.Int64N(10_000)}
			if !yield(topology.Record[string, program.Order]{Key: customer, Value: order}) {
				return
			}
		}
	}
}
