// Package program is the word count itself: its topics, its store and its topology.
package program

import (
	"iter"
	"strings"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// Program is the word count under one application id, which begins the names of its topics.
type Program struct {
	ApplicationID string
	Lines         stream.Topic[string, string]
	Counts        stream.Topic[string, int64]
	ByWord        state.KV[string, int64]
}

// New names the parts.
func New(applicationID string) Program {
	return Program{
		ApplicationID: applicationID,
		Lines:         stream.NewTopic[string, string](applicationID + "-lines"),
		Counts:        stream.NewTopic[string, int64](applicationID + "-counts"),
		ByWord:        state.NewKV[string, int64]("by-word"),
	}
}

// Build is the whole program.
func (p Program) Build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	b.Stream(p.Lines).
		FlatMapValues(words).
		GroupBy("words", func(_, word string) string { return word }).
		Count(p.ByWord).
		ToStream().
		To(p.Counts)
	return b.Optimize().Build()
}

func words(line string) iter.Seq[string] { return strings.FieldsSeq(strings.ToLower(line)) }
