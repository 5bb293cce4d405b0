package runtime_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
)

// A word count on a bundled broker in memory, from the topology to a query of its store.
func ExampleApp_Run() {
	ctx := context.Background()
	b, err := broker.Open(broker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(ctx, 4, 1, nil, "text", "totals"); err != nil {
		log.Fatal(err)
	}

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
	app, err := runtime.New(topo, runtime.Config{
		ApplicationID: "example", Broker: b, StateFS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()

	for _, line := range []string{"to be or not to be", "that is the question"} {
		r := &kgo.Record{Topic: "text", Value: []byte(line)}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			log.Fatal(err)
		}
	}
	if err := app.WaitCaughtUp(ctx); err != nil {
		log.Fatal(err)
	}
	if err := app.Checkpoint(ctx); err != nil { // or wait for Config.CheckpointEvery
		log.Fatal(err)
	}
	view, err := app.View(total)
	if err != nil {
		log.Fatal(err)
	}
	defer view.Close()
	for _, word := range []string{"be", "question"} {
		n, _, _, err := total.Read(view.Reader).Get(word)
		fmt.Println(word, n, err)
	}
	if err := app.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-ended)
	// Output:
	// be 2 <nil>
	// question 1 <nil>
	// <nil>
}
