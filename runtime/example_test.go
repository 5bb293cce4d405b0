package runtime_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// A word count on a bundled broker in memory, from the topology to a query of its store.
func ExampleApp_RunDuring() {
	text := stream.NewTopic[string, string]("text")
	totals := stream.NewTopic[string, int64]("totals")
	total := state.NewKV[string, int64]("total")
	builder := stream.NewBuilder()
	builder.Stream(text).
		FlatMapValues(func(line string) iter.Seq[string] { return strings.FieldsSeq(strings.ToLower(line)) }).
		GroupBy("words", func(_, word string) string { return word }).
		Count(total).
		ToStream().
		To(totals)
	topo, err := builder.Build()
	if err != nil {
		log.Fatal(err)
	}
	b, err := broker.Open(broker.Config{}) // in memory: it has no Dir
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	cfg := runtime.Config{
		ApplicationID: "example", Broker: b,
		State:  runtime.StateConfig{FS: vfs.NewMem()},
		Logger: slog.New(slog.DiscardHandler),
	}
	client, err := runtime.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	app, err := runtime.New(topo, cfg)
	if err != nil {
		log.Fatal(err)
	}
	err = app.RunDuring(context.Background(), func(ctx context.Context) error {
		if err := app.WaitRunning(ctx); err != nil { // the topics are there now
			return err
		}
		for _, line := range []string{"to be or not to be", "that is the question"} {
			if err := client.Put(ctx, text, "hamlet", line); err != nil {
				return err
			}
		}
		if err := app.WaitCaughtUp(ctx); err != nil {
			return err
		}
		if err := app.Checkpoint(ctx); err != nil { // or wait for Config.State.CheckpointInterval
			return err
		}
		view, err := app.View(total)
		if err != nil {
			return err
		}
		defer view.Close()
		for _, word := range []string{"be", "question"} {
			n, _, _, err := total.Read(view.Reader).Get(word)
			if err != nil {
				return err
			}
			fmt.Println(word, n)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// be 2
	// question 1
	// <nil>
}

// A client makes a topic, writes to it and reads it, without an application.
func ExampleClient() {
	ctx := context.Background()
	b, err := broker.Open(broker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	client, err := runtime.NewClient(runtime.Config{Broker: b}) // or Seeds, for a cluster
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	prices := stream.NewTopic[string, float64]("prices")
	if err := client.Create(ctx, 1, prices); err != nil {
		log.Fatal(err)
	}
	if err := client.Put(ctx, prices, "bread", 4.5); err != nil {
		log.Fatal(err)
	}
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	err = client.Send(ctx, prices,
		topology.Record[string, float64]{Key: "wine", Value: 15, Timestamp: noon.UnixMilli()},
		topology.Record[string, float64]{Key: "bread", NullValue: true}) // bread is sold out
	if err != nil {
		log.Fatal(err)
	}
	for r, err := range client.Read(ctx, prices, runtime.Earliest()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Offset, r.Key, r.Value, r.NullValue)
	}
	// Output:
	// 0 bread 4.5 false
	// 1 wine 15 false
	// 2 bread 0 true
}

// A member of a consumer group goes on where the group has committed.
func ExampleFrom_Group() {
	ctx := context.Background()
	b, err := broker.Open(broker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	client, err := runtime.NewClient(runtime.Config{Broker: b})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	mails := stream.NewTopic[string, string]("mails")
	if err := client.Create(ctx, 1, mails); err != nil {
		log.Fatal(err)
	}
	for _, to := range []string{"anna", "bo", "cleo"} {
		if err := client.Put(ctx, mails, to, "hello"); err != nil {
			log.Fatal(err)
		}
	}
	from := runtime.Earliest().Group("mailer") // and .Follow(), in a service
	for r, err := range client.Read(ctx, mails, from) {
		if err != nil || r.Key == "bo" {
			break // bo's mail can't be sent: it is not committed
		}
		fmt.Println("sent to", r.Key)
	}
	for r, err := range client.Read(ctx, mails, from) {
		fmt.Println("again:", r.Key, err)
	}
	// Output:
	// sent to anna
	// again: bo <nil>
	// again: cleo <nil>
}
