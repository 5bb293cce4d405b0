// Jobs is a work queue: mails that have to be delivered. A job that fails is tried again, and one that cannot be done
// becomes a dead letter, which waits until somebody has removed the cause.
//
//	go run ./examples/jobs
//
// The work, and what happens when it fails, is in mail.go.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}

// rawQueue is the queue without types: jobs as they come from other programs, and dead letters on their way back.
var rawQueue = stream.NewTopic[string, []byte](Queue.Name())

// jobs are what other programs put into the queue.
var jobs = []struct{ id, mail string }{
	{"job-1", `{"to":"anna","subject":"Your order has been sent"}`},
	{"job-2", `{"to":"bo","subject":"Your invoice"}`},
	{"job-3", `{"to":"dora","subject":"We miss you"}`}, // she has no mailbox
	{"job-4", `{"to":"cleo","subject":`},               // cut off
	{"job-5", `{"to":"anna","subject":"How did you like it?"}`},
	{"job-6", `{"to":"cleo","subject":"Your parcel is on its way"}`},
}

// run has the jobs done, removes the cause of a failure, and has the dead letters done, too.
func run(ctx context.Context, out io.Writer) (err error) {
	// The broker runs in this process, in a directory that is gone afterwards.
	dir, err := os.MkdirTemp("", "jobs-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	b, err := broker.Open(broker.Config{Dir: filepath.Join(dir, "broker"), Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	cfg := runtime.Config{
		ApplicationID: "mail",
		Broker:        b,
		State:         runtime.StateConfig{Dir: filepath.Join(dir, "state")},
		Workers:       1, // enough for so little
		Errors:        policy(),
		Logger:        logger,
	}
	client, err := runtime.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Create(ctx, 4, Queue, Receipts, Failed); err != nil {
		return err
	}
	for _, j := range jobs {
		if err := client.Put(ctx, rawQueue, j.id, []byte(j.mail)); err != nil {
			return err
		}
	}

	// The mail server is busy for two calls with job-2, and for longer than we try with job-6.
	server := newMailServer("anna", "bo", "cleo")
	server.busy = map[string]int{"job-2": 2, "job-6": 5}
	topo, err := build(server)
	if err != nil {
		return err
	}
	if err := process(ctx, topo, cfg); err != nil {
		return err
	}
	if err := printReceipts(ctx, client, out); err != nil {
		return err
	}
	letters, err := deadLetters(ctx, client, out)
	if err != nil {
		return err
	}

	// Somebody opens the missing mailbox and puts the dead letters back into the queue, except for the one that nobody
	// can read. Jobs that are done do not run again: the committed offsets say how far the queue is processed.
	server.open("dora")
	delete(letters, "job-4")
	for _, job := range slices.Sorted(maps.Keys(letters)) {
		if err := client.Put(ctx, rawQueue, job, letters[job]); err != nil {
			return err
		}
	}
	if err := process(ctx, topo, cfg); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nafter the dead letters went back to the queue")
	return printReceipts(ctx, client, out)
}

// process runs the application until the queue is empty and everything is committed.
func process(ctx context.Context, topo *topology.Topology, cfg runtime.Config) error {
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	return app.RunDuring(ctx, app.WaitCaughtUp)
}

// printReceipts prints what is done, by job.
func printReceipts(ctx context.Context, client *runtime.Client, out io.Writer) error {
	receipts := map[string]Receipt{}
	for r, err := range client.Read(ctx, Receipts, runtime.Earliest()) {
		if err != nil {
			return err
		}
		receipts[r.Key] = r.Value
	}
	fmt.Fprintln(out, "delivered")
	for _, job := range slices.Sorted(maps.Keys(receipts)) {
		fmt.Fprintf(out, "  %s  to %-4s  as %s\n", job, receipts[job].To, receipts[job].ID)
	}
	return nil
}

// deadLetters prints the jobs that could not be done, with the reasons from their headers, and returns them.
func deadLetters(ctx context.Context, client *runtime.Client, out io.Writer) (map[string][]byte, error) {
	letters, headers := map[string][]byte{}, map[string]map[string]string{}
	for r, err := range client.Read(ctx, Failed, runtime.Earliest()) {
		if err != nil {
			return nil, err
		}
		letters[r.Key], headers[r.Key] = r.Value, map[string]string{}
		for _, h := range r.Headers { // those of Kafka Streams, and the attempts
			headers[r.Key][strings.TrimPrefix(h.Key, "__streams.errors.")] = string(h.Value)
		}
	}
	fmt.Fprintln(out, "\ndead letters")
	for _, job := range slices.Sorted(maps.Keys(letters)) {
		h := headers[job]
		fmt.Fprintf(out, "  %s  attempts: %s  %s\n", job, cmp.Or(h["attempts"], "1"), h["message"])
	}
	return letters, nil
}
