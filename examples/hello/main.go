package main

import (
	"context"
	"fmt"
	"log"
	"strings"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

var (
	Lines  = stream.NewTopic[string, string]("lines")
	Counts = stream.NewTopic[string, int64]("counts")
	ByWord = state.NewKV[string, int64]("by-word")
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	b.Stream(Lines).FlatMapValues(strings.FieldsSeq).
		GroupBy("words", func(_, word string) string { return word }).
		Count(ByWord).ToStream().To(Counts)
	return b.Build()
}

func main() {
	ctx := context.Background()
	local := must(broker.Open(broker.Config{Dir: "data/broker"}))
	defer local.Close()
	cfg := runtime.Config{ApplicationID: "hello", Broker: local, State: runtime.StateConfig{Dir: "data/state"}}
	app, client := must(runtime.New(must(build()), cfg)), must(runtime.NewClient(cfg))
	go app.Run(ctx)
	defer app.Close(ctx)
	must(0, app.WaitRunning(ctx)) // it has made the topics
	must(0, client.Put(ctx, Lines, "", "to be or not to be"))
	must(0, app.WaitCaughtUp(ctx))
	for count, err := range client.Read(ctx, Counts, runtime.Earliest()) {
		fmt.Println(must(count, err).Key, count.Value)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
