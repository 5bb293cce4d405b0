// Package topology is the graph that an application runs: nodes, the typed ports between them, and what a task
// gives to its nodes while it runs them.
//
// # Programs without the DSL
//
// A [Builder] makes a graph node by node, as the Topology of Kafka Streams does. Each node has a name, and what a
// method returns is a [Handle], typed by the records that the node forwards: a child that takes other types does not
// compile.
//
//	b := topology.NewBuilder()
//	b.Source("orders", Orders).
//		Process("total", newTotal, Totals). // a processor with a store
//		Sink("results", Results)
//	topo, err := b.Build()
//
// Package runtime runs the result, and package streamtest tests it. Kafka's calls and these:
//
//	addSource, addSink                       Builder.Source, Handle.Sink (topics say their serdes, times and offsets)
//	addProcessor                             Handle.Process, Handle.ProcessValues (keys stay as they are)
//	addProcessor with several parents        a.Merge(b).Process
//	addStateStore, connectProcessorAnd…      the stores in the call of Process, one store in several calls
//	addGlobalStore, addReadOnlyStateStore    Builder.GlobalStore
//	addSink with a TopicNameExtractor        Handle.Sink(…).TopicOf
//	a topic between two parts                Handle.Repartition
//
// A [Processor] is any type with its two methods; the function that makes it may return the concrete type. It forwards
// to all children with [Context.Forward], or to one with [Context.ForwardTo], and is called by a clock after
// [Context.Schedule]. In each task a processor sees the records of one partition of each input. The builder does not
// know what a processor does with keys, so it requires neither a Repartition nor equal numbers of partitions: bring
// equal keys together yourself, and see [Handle.ByKey].
//
// A program can mix both ways: see Graph, StreamOf and HandleOf of the builder in package stream.
//
// # Typed ports on an untyped graph
//
// A [Node] is a blueprint and knows no types: names, kinds, topics, stores, children. Its [Make] builds it inside
// one task. What flows between two built nodes is typed: a [Port] is a function that takes a *Record[K, V]. A node
// is made after its children and is handed their ports as values of type any; it asserts them once ([Forward]).
// From then on a record moves by plain calls: no boxing, no look-up, no allocation.
//
// # Who owns a record
//
// The caller of a port owns the record, usually as a slot that it fills again for the next one. A receiver reads it
// during the call, neither changes nor keeps it, and hands its own slot to its children.
//
// # Null
//
// Null differs from empty. A key or value type for which nil is natural (pointer, slice, map, interface) says null
// by nil; for every other type the flags [Record.NullKey] and [Record.NullValue] say it. The flags are set for
// nilable types too, so that code which works for any type can look at them alone.
//
// # Errors and panics
//
// A port returns an error, which the node at fault has made a [ProcessingError]. User code that panics is caught by
// the task, which knows from [Env] in which node it was. Under a policy that goes on after an error each port is
// guarded, so that the failed record is dropped at the node that failed and nowhere else.
package topology
