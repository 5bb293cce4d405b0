// Command wordcount runs the word count: frozen, for measuring what it costs to compile.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"thalweg/broker"
	"thalweg/internal/verify/compile/testdata/wordcount/program"
	"thalweg/runtime"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := broker.Open(broker.Config{Dir: os.Args[1]})
	if err != nil {
		return err
	}
	defer b.Close()
	p := program.New("wordcount")
	topo, err := p.Build()
	if err != nil {
		return err
	}
	cfg := runtime.Config{ApplicationID: p.ApplicationID, Broker: b}
	cfg.State.Dir = os.Args[1] + "/state"
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	return app.Run(ctx)
}
