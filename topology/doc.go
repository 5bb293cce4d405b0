// Package topology is the graph that an application runs: nodes, the typed ports between them, and what a task
// gives to its nodes while it runs them.
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
