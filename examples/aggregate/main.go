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
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/examples/aggregate/program"
	"thalweg/examples/internal/place"
	"thalweg/runtime"
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
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	here, err := place.Open(ctx, "aggregate", o.brokers, o.dir, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.Close()) }()
	if err := feed(ctx, here, o); err != nil {
		return err
	}
	topo, err := program.Build()
	if err != nil {
		return err
	}
	app, err := runtime.New(topo, runtime.Config{
		ApplicationID: "aggregate",
		Broker:        here.Broker,
		Seeds:         here.Seeds,
		StateDir:      here.StateDir,
		Logger:        logger,
	})
	if err != nil {
		return err
	}
	return place.Run(ctx, app, func(ctx context.Context) error {
		if err := app.WaitCaughtUp(ctx); err != nil {
			return err
		}
		return printTable(ctx, app, out)
	})
}

// feed makes the topics and writes orders that only the seed decides.
func feed(ctx context.Context, here *place.Place, o options) error {
	client, err := here.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	made, err := kadm.NewClient(client).CreateTopics(ctx, 4, -1, nil, program.Orders.Name(), program.Summaries.Name())
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range made.Sorted() {
		if t.Err != nil && !topicExists(t.Err) {
			return fmt.Errorf("create topic %s: %w", t.Topic, t.Err)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	keys, values := program.Orders.Serdes()
	for customer, order := range generate(o) {
		key, keyErr := keys.Append(nil, customer)
		value, valueErr := values.Append(nil, order)
		if err := errors.Join(keyErr, valueErr); err != nil {
			return fmt.Errorf("order %d: %w", order.Number, err)
		}
		r := &kgo.Record{Topic: program.Orders.Name(), Key: key, Value: value}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("order %d: %w", order.Number, err))
			}
		})
	}
	err = client.Flush(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// generate yields the orders and whose they are.
func generate(o options) func(yield func(string, program.Order) bool) {
	return func(yield func(string, program.Order) bool) {
		items := [...]string{"bread", "butter", "coffee", "milk", "tea"}
		r := rand.New(rand.NewPCG(o.seed, 0))
		for n := range o.orders {
			customer := fmt.Sprintf("customer-%03d", r.IntN(o.customers))
			order := program.Order{Number: int64(n + 1), Item: items[r.IntN(len(items))], Cents: 1 + r.Int64N(10_000)}
			if !yield(customer, order) {
				return
			}
		}
	}
}
