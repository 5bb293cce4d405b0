// Mistyped connects nodes to children of other types. It must not compile.
package main

import "thalweg/topology"

type length struct{}

func (length) Init(*topology.Context[string, int64]) error { return nil }

func (length) Process(topology.Record[string, string]) error { return nil }

func main() {
	texts := topology.NewTopic[string, string]("texts")
	numbers := topology.NewTopic[string, int64]("numbers")
	b := topology.NewBuilder()
	lengths := b.Source("texts", texts).Process("lengths", func() length { return length{} })
	lengths.Process("again", func() length { return length{} })
	lengths.ProcessValues("and again", func() length { return length{} })
	lengths.Sink("texts-out", texts)
	lengths.Merge(b.Source("more", texts))
	b.Source("mixed", texts, numbers)
	b.GlobalStore("global", texts, func() length { return length{} }, nil)
}
