// This program counts words: it reads lines from one topic and writes the count of each word to another.
//
//	go run .                                sends a few lines, prints all counts, and ends
//	go run . -serve                         runs until interrupted; clients find its broker at 127.0.0.1:9092
//	go run . -serve -brokers HOST:PORT,…    the same on a Kafka cluster
//	go run . -topology                      prints the program's graph, -topology=mermaid as a picture
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/topology"
)

type options struct {
	dir     string
	brokers string
	listen  string
	serve   bool
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "data", "keep the local state, and the bundled broker's topics, here")
	flag.StringVar(&o.brokers, "brokers", "", "HOST:PORT addresses of a Kafka cluster (default: the bundled broker)")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:9092", "with -serve: where the bundled broker accepts clients")
	flag.BoolVar(&o.serve, "serve", false, "run until interrupted")
	topology.Flag(flag.CommandLine, Build)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "skeleton:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	if !o.serve {
		slog.SetLogLoggerLevel(slog.LevelWarn)
	}
	topo, err := Build()
	if err != nil {
		return err
	}
	cfg := runtime.Config{ApplicationID: "skeleton", State: runtime.StateConfig{Dir: filepath.Join(o.dir, "state")}}
	if o.brokers == "" {
		local, err := openBroker(o)
		if err != nil {
			return err
		}
		defer local.Close()
		cfg.Broker = local
	} else {
		cfg.Seeds = strings.Split(o.brokers, ",")
		cfg.Topics.CreateOnCluster = true // remove this where somebody else makes the topics
	}
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	if o.serve {
		return app.Run(ctx) // until ctx ends
	}
	return app.RunDuring(ctx, func(ctx context.Context) error { return demonstrate(ctx, app, cfg, out) })
}

func openBroker(o options) (*broker.Broker, error) {
	cfg := broker.Config{Dir: filepath.Join(o.dir, "broker")}
	if o.serve {
		l, err := net.Listen("tcp", o.listen)
		if err != nil {
			return nil, err
		}
		cfg.Listener = l
	}
	return broker.Open(cfg)
}

// demonstrate sends some lines, waits until they are counted and prints the counts of all lines so far.
func demonstrate(ctx context.Context, app *runtime.App, cfg runtime.Config, out io.Writer) error {
	if err := app.WaitRunning(ctx); err != nil {
		return err
	}
	client, err := runtime.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, line := range []string{"to be or not to be", "that is the question"} {
		if err := client.Put(ctx, Lines, "", line); err != nil {
			return err
		}
	}
	if err := app.WaitCaughtUp(ctx); err != nil {
		return err
	}
	counts := map[string]int64{}
	for r, err := range client.Read(ctx, Counts, runtime.Earliest()) {
		if err != nil {
			return err
		}
		counts[r.Key] = r.Value // a later count of a word replaces an earlier one
	}
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "%4d  %s\n", counts[word], word)
	}
	return nil
}
