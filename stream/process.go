package stream

import (
	"thalweg/state"
	"thalweg/topology"
)

// Process runs a processor of the program's own over the stream: p makes one for each task. The stores are those that
// it opens, and no others can be opened; several processors may share one. The key may change: see the package comment
// on keys and partitions. Behind a changed key it sees, in each task, the records that happen to come there.
func (s Stream[K, V]) Process[K2, V2 any, P topology.Processor[K, V, K2, V2]](
	p func() P, stores ...state.Store,
) Stream[K2, V2] {
	t := topology.NewProcessor("", caller(), stores, topology.MakerOf[K, V, K2, V2](p))
	n := s.n.builder().add("process", "", t, s.n)
	return Stream[K2, V2]{n: n.moves("Process")}
}

// ProcessValues runs a processor that keeps keys: what it forwards for a record goes on under the record's key.
func (s Stream[K, V]) ProcessValues[V2 any, P topology.Processor[K, V, K, V2]](
	p func() P, stores ...state.Store,
) Stream[K, V2] {
	t := topology.NewValueProcessor("", caller(), stores, topology.MakerOf[K, V, K, V2](p))
	n := s.n.builder().add("process-values", "", t, s.n)
	return Stream[K, V2]{n: n, keys: s.keys}
}
