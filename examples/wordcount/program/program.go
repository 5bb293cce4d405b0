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
		Lines:         stream.NewTopic[string, string](applicationID + "-lines").Partition(PartitionOf),
		Counts:        stream.NewTopic[string, int64](applicationID + "-counts"),
		ByWord:        state.NewKV[string, int64]("by-word"),
	}
}

// PartitionOf is the partition of a line: by its hash (FNV-1a), which says for ever where it lies.
func PartitionOf(_, line string, partitions int) int {
	hash := uint32(2166136261)
	for i := range len(line) {
		hash = (hash ^ uint32(line[i])) * 16777619
	}
	return int(hash % uint32(partitions))
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
