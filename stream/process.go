package stream

import (
	"thalweg/state"
	"thalweg/topology"
)

// Process runs a processor of the program's own over the stream: p makes one for each task. The stores are those that
// it opens; several processors may share one. The key may change: see the package comment on keys and partitions.
func (s Stream[K, V]) Process[K2, V2 any](
	p func() topology.Processor[K, V, K2, V2], stores ...state.Store,
) Stream[K2, V2] {
	n := s.n.b.add("process", "", topology.NewProcessor("", caller(), stores, p), s.n)
	return Stream[K2, V2]{n: n.moves("Process").by(s.n, "Process")}
}

// ProcessValues runs a processor that keeps keys: what it forwards for a record goes on under the record's key.
func (s Stream[K, V]) ProcessValues[V2 any](
	p func() topology.Processor[K, V, K, V2], stores ...state.Store,
) Stream[K, V2] {
	n := s.n.b.add("process-values", "", topology.NewValueProcessor("", caller(), stores, p), s.n)
	return Stream[K, V2]{n: n.by(s.n, "ProcessValues"), keys: s.keys}
}

// by refuses stores behind a changed key: the rows of a key would lie in several tasks.
func (n *node) by(parent *node, method string) *node {
	n.op = method
	if len(n.Stores) > 0 && parent.moved != nil {
		parent.mustBeByKey(method+" with a store", n.Site)
	}
	return n
}
