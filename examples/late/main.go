// Late averages what weather stations measure, per minute, from readings in JSON that arrive out of order. Readings
// that come too late for their minute go to a topic of their own.
//
//	go run ./examples/late
//
// The program is in weather.go, and the readings are in readings.jsonl.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
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

//go:embed readings.jsonl
var readings []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "late:", err)
		os.Exit(1)
	}
}

// run sends the readings, waits until all are processed, and prints what came of them.
func run(ctx context.Context, out io.Writer) (err error) {
	// The broker runs in this process, in a directory that is gone afterwards.
	dir, err := os.MkdirTemp("", "late-")
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
		ApplicationID: "weather",
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
	if err := client.Create(ctx, 1, Readings, Minutes, Late); err != nil {
		return err
	}
	if err := send(ctx, client); err != nil {
		return err
	}

	topo, err := build()
	if err != nil {
		return err
	}
	if err := process(ctx, topo, cfg); err != nil {
		return err
	}

	fmt.Fprintln(out, "minutes, each when it was final")
	for r, err := range client.Read(ctx, Minutes, runtime.Earliest()) {
		if err != nil {
			return err
		}
		m := r.Value
		fmt.Fprintf(out, "  %s  %s  %d readings, mean %.1f, max %.1f\n", m.From.Format("15:04"), r.Key, m.Readings, m.Mean,
			m.Max)
	}
	fmt.Fprintln(out, "\nreadings that came too late")
	for r, err := range client.Read(ctx, Late, runtime.Earliest()) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s  %s  %.1f\n", r.Value.At.Format("15:04:05"), r.Key, r.Value.Celsius)
	}
	return nil
}

// send writes the file's lines to the topic, by station.
func send(ctx context.Context, client *runtime.Client) error {
	lines := json.NewDecoder(bytes.NewReader(readings))
	for lines.More() {
		var line struct {
			Station string `json:"station"`
			Reading
		}
		if err := lines.Decode(&line); err != nil {
			return err
		}
		if err := client.Put(ctx, Readings, line.Station, line.Reading); err != nil {
			return err
		}
	}
	return nil
}

// process runs the application until it has processed and committed all of its input.
func process(ctx context.Context, topo *topology.Topology, cfg runtime.Config) error {
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	return app.RunDuring(ctx, app.WaitCaughtUp)
}
