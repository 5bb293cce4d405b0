package streamtest_test

import (
	"fmt"
	"log"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// Outside of a test. Here the state is lost, and comes back from the changelog.
func ExampleOpen() {
	pages := state.NewKV[string, int64]("pages")
	b := stream.NewBuilder()
	b.Stream(texts).GroupByKey().Count(pages)
	topo, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d := streamtest.Open(topo, streamtest.Config{Partitions: 3})
	defer d.Close()
	in := d.Input(texts)
	in.Send("home", "anna", 1)
	in.Send("home", "bo", 2)
	in.Send("shop", "bo", 3)
	d.Restart(streamtest.LoseState)
	in.Send("home", "cleo", 4)
	fmt.Println(d.Get(pages, "home"))
	fmt.Println(d.Get(pages, "shop"))
	// Output:
	// 3 true
	// 1 true
}
