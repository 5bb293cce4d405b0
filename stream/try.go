package stream

import (
	"iter"
	"time"

	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Call is the record for which a function of a Try form is called: its time, its headers, and where it came from.
type Call = topology.Call

// TryStream has the operators of a [Stream] with functions that may fail and that see the record: see [Stream.Try].
type TryStream[K, V any] struct{ s Stream[K, V] }

// Try gives the same operators with full functions: first a [Call], then the key, then what the plain function takes;
// an error comes last. An error fails the record at this operator, and the application's policy says what happens then:
// nothing that the operator has done for the record remains. The operators return what the plain ones return.
func (s Stream[K, V]) Try[T TryStream[K, V]]() TryStream[K, V] { return TryStream[K, V]{s} }

// Filter is [Stream.Filter] with a full function.
func (t TryStream[K, V]) Filter[F ~func(*Call, K, V) (bool, error)](keep F) Stream[K, V] {
	t.s.n.needs("Filter", keep == nil)
	return Stream[K, V]{t.s.n.then("filter", op.Filter[K, V](keep, true)), t.s.keys, t.s.values}
}

// FilterNot is [Stream.FilterNot] with a full function.
func (t TryStream[K, V]) FilterNot[F ~func(*Call, K, V) (bool, error)](drop F) Stream[K, V] {
	t.s.n.needs("FilterNot", drop == nil)
	return Stream[K, V]{t.s.n.then("filter-not", op.Filter[K, V](drop, false)), t.s.keys, t.s.values}
}

// Map is [Stream.Map] with a full function.
func (t TryStream[K, V]) Map[K2, V2 any](f func(*Call, K, V) (K2, V2, error)) Stream[K2, V2] {
	t.s.n.needs("Map", f == nil)
	return Stream[K2, V2]{n: t.s.n.then("map", op.Map(f)).moves("Map")}
}

// MapValues is [Stream.MapValues] with a full function.
func (t TryStream[K, V]) MapValues[V2 any](f func(*Call, K, V) (V2, error)) Stream[K, V2] {
	t.s.n.needs("MapValues", f == nil)
	return Stream[K, V2]{n: t.s.n.then("map-values", op.MapValues(f)), keys: t.s.keys}
}

// SelectKey is [Stream.SelectKey] with a full function.
func (t TryStream[K, V]) SelectKey[K2 any](f func(*Call, K, V) (K2, error)) Stream[K2, V] {
	t.s.n.needs("SelectKey", f == nil)
	return Stream[K2, V]{n: t.s.n.then("select-key", op.SelectKey(f)).moves("SelectKey"), values: t.s.values}
}

// FlatMap is [Stream.FlatMap] with a full function. The error comes before the sequence, which itself can only panic.
func (t TryStream[K, V]) FlatMap[K2, V2 any](f func(*Call, K, V) (iter.Seq2[K2, V2], error)) Stream[K2, V2] {
	t.s.n.needs("FlatMap", f == nil)
	return Stream[K2, V2]{n: t.s.n.then("flat-map", op.FlatMap(f)).moves("FlatMap")}
}

// FlatMapValues is [Stream.FlatMapValues] with a full function: see [TryStream.FlatMap].
func (t TryStream[K, V]) FlatMapValues[V2 any](f func(*Call, K, V) (iter.Seq[V2], error)) Stream[K, V2] {
	t.s.n.needs("FlatMapValues", f == nil)
	return Stream[K, V2]{n: t.s.n.then("flat-map-values", op.FlatMapValues(f)), keys: t.s.keys}
}

// Peek is [Stream.Peek] with a full function.
func (t TryStream[K, V]) Peek[F ~func(*Call, K, V) error](look F) Stream[K, V] {
	t.s.n.needs("Peek", look == nil)
	return Stream[K, V]{t.s.n.then("peek", op.Peek[K, V](look)), t.s.keys, t.s.values}
}

// ForEach is [Stream.ForEach] with a full function.
func (t TryStream[K, V]) ForEach[F ~func(*Call, K, V) error](f F) Sink {
	t.s.n.needs("ForEach", f == nil)
	return Sink{t.s.n.then("for-each", op.Peek[K, V](f))}
}

// Split is [Stream.Split] with full functions.
func (t TryStream[K, V]) Split[F ~func(*Call, K, V) (bool, error)](when ...F) []Stream[K, V] {
	predicates := make([]func(*Call, K, V) (bool, error), len(when))
	for i, w := range when {
		t.s.n.needs("Split", w == nil)
		predicates[i] = w
	}
	return split(t.s, predicates)
}

// ToDynamic is [Stream.ToDynamic] with a full function.
func (t TryStream[K, V]) ToDynamic[F ~func(*Call, K, V) (string, error)](topic F) DynamicSink[K, V] {
	t.s.n.needs("ToDynamic", topic == nil)
	return toDynamic(t.s, topic)
}

// GroupBy is [Stream.GroupBy] with a full function.
func (t TryStream[K, V]) GroupBy[K2 any](name string, key func(*Call, K, V) (K2, error)) Grouped[K2, V] {
	t.s.n.needs("GroupBy", key == nil)
	return groupBy(t.s, name, key)
}

// Deduplicate is [Stream.Deduplicate] with a full function.
func (t TryStream[K, V]) Deduplicate[ID any](
	d Duplicates, name string, id func(*Call, K, V) (ID, error),
) Stream[K, V] {
	t.s.n.needs("Deduplicate", id == nil)
	return deduplicate(t.s, d, name, id)
}

// Batch is [Stream.Batch] with a full function. Its call is the record that filled the batch, or none where time has
// closed it. An error fails the whole batch.
func (t TryStream[K, V]) Batch[V2 any](
	n int, every time.Duration, name string, f func(*Call, K, []V) (V2, error),
) Stream[K, V2] {
	t.s.n.needs("Batch", f == nil)
	return batch(t.s, n, every, name, f)
}
