// Package stream is the typed, fluent language in which applications are written.
//
// A [Builder] makes streams and tables of topics; their methods add operators; [Builder.Build] checks the whole and
// returns a topology, which package runtime runs and package streamtest tests:
//
//	b := stream.NewBuilder()
//	b.Stream(Lines).
//		FlatMapValues(words).
//		GroupBy("words", func(_, word string) string { return word }).
//		Count(ByWord).
//		ToStream().
//		To(Counts)
//	topo, err := b.Build()
//
// # Streams and tables
//
// A [Stream] is a sequence of records that stand for themselves. A [Table] is a sequence of changes of rows: of a key
// only the newest counts. Grouping and aggregating makes tables of streams, [Table.ToStream] a stream of a table.
//
// # Names
//
// What is durable has a name from the program: topics ([NewTopic]), stores (package state), repartitions. Nothing
// durable is ever named by a counter, so that adding an operator renames nothing. Serdes are found by type and
// overridden on the name. A store that names no serdes takes those of the stream or table that it is made from, where
// the types are the same.
//
// Nodes have names too, for metrics, drawings and errors: [Stream.Named] and its kin set them.
//
// # Settings
//
// What is optional is a method that returns the same type: on a name or a specification ([Topic.Values],
// [Within.Before]), on a group before its aggregate ([Grouped.Emit]), or on what an operator returned, where it
// configures that operator ([Stream.Partitions], [Table.Emit], [Sink.Named]). A setting that the operator does not have
// is an error of Build.
//
// # Keys and partitions
//
// Records of one key meet in one task only when the topic they come from is partitioned by that key. After an operator
// that may have changed the key (Map, FlatMap, SelectKey, Process) a [Stream.Repartition] must come before one that
// brings equal keys together (GroupByKey, joins, ToTable); Build refuses a program without. GroupBy repartitions by
// itself, which is why it takes a name.
//
// Topics that meet by key need keys of equal bytes, too: Build compares the formats of their serdes ([serde.Format]).
//
// # Processors
//
// [Stream.Process] runs code of your own behind an operator. A part of a program that is easier to write as a graph of
// processors is added through [Builder.Graph].
//
// # Null
//
// Null and empty differ. For a nilable type (pointer, slice, map, interface) nil is null, and functions see it. For any
// other type null is a flag beside the value: a null key reaches functions as the zero key; a null value passes
// operators that only look at values untouched and uncalled; where a key would have to be made from a null value the
// record is dropped and counted. Into a table or a topic a null value is a tombstone. Aggregations and joins drop
// null keys and values, counted with the reason. A function that wants to see or make nulls takes a nilable type.
//
// # Order
//
// A node forwards to its children in the order in which they were made, each child's whole subtree before the next.
package stream
