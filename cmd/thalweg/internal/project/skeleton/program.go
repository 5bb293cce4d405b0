package main

import (
	"iter"
	"strings"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// The application's topics and its store. Their names are durable: what lies there is found by them.
var (
	Lines  = stream.NewTopic[string, string]("lines")
	Counts = stream.NewTopic[string, int64]("counts")
	ByWord = state.NewKV[string, int64]("by-word")
)

// Build is the program: it counts the words of the lines.
func Build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	b.Stream(Lines).
		FlatMapValues(words).
		GroupBy("words", func(_, word string) string { return word }).
		Count(ByWord).
		ToStream().
		To(Counts)
	return b.Optimize().Build()
}

func words(line string) iter.Seq[string] { return strings.FieldsSeq(strings.ToLower(line)) }
