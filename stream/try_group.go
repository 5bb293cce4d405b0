package stream

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
)

// TryGrouped has the aggregations of a [Grouped] with functions that may fail and that see the record: see
// [Grouped.Try].
type TryGrouped[K, V any] struct{ g Grouped[K, V] }

// Try gives the same aggregations with full functions: see [Stream.Try]. A function may change its aggregate in place
// and fail half way: where the policy goes on, it has got a copy.
func (g Grouped[K, V]) Try[T TryGrouped[K, V]]() TryGrouped[K, V] { return TryGrouped[K, V]{g} }

// Reduce is [Grouped.Reduce] with a full function.
func (t TryGrouped[K, V]) Reduce[S state.KV[K, V]](st S, f func(*Call, K, V, V) (V, error)) Table[K, V] {
	t.g.s.n.needs("Reduce", f == nil)
	return aggregate(t.g, "reduce", state.KV[K, V](st), op.ReduceFold(f))
}

// Aggregate is [Grouped.Aggregate] with a full function.
func (t TryGrouped[K, V]) Aggregate[A any](
	st state.KV[K, A], initial func() A, add func(*Call, K, V, A) (A, error),
) Table[K, A] {
	t.g.s.n.needs("Aggregate", initial == nil, add == nil)
	return aggregate(t.g, "aggregate", st, op.AggregateFold(initial, add))
}

// Top is [Grouped.Top] with a full function.
func (t TryGrouped[K, V]) Top[A ~[]V](
	st state.KV[K, A], n int, compare func(c *Call, key K, a, b V) (int, error),
) Table[K, A] {
	t.g.s.n.needs("Top", compare == nil)
	mustKeepSome(t.g.s.n.builder(), n)
	return aggregate(t.g, "top", st, op.TopFold[K, V, A](n, compare))
}

// Cogroup is [Grouped.Cogroup] with a full function.
func (t TryGrouped[K, V]) Cogroup[A any](add func(*Call, K, V, A) (A, error)) Cogrouped[K, A] {
	t.g.s.n.needs("Cogroup", add == nil)
	return cogroupWith(Cogrouped[K, A]{b: t.g.s.n.builder(), keys: t.g.s.keys, emit: t.g.emit}, t.g, add)
}

// TryCogrouped adds streams to a [Cogrouped] with functions that may fail and that see the record: see [Stream.Try].
type TryCogrouped[K, A any] struct{ c Cogrouped[K, A] }

// Try adds streams with full functions: see [Stream.Try].
func (c Cogrouped[K, A]) Try[T TryCogrouped[K, A]]() TryCogrouped[K, A] { return TryCogrouped[K, A]{c} }

// With is [Cogrouped.With] with a full function.
func (t TryCogrouped[K, A]) With[V any](g Grouped[K, V], add func(*Call, K, V, A) (A, error)) Cogrouped[K, A] {
	t.c.builder().needs("With", add == nil)
	return cogroupWith(t.c, g, add)
}

// TrySessionCogroup is a [SessionCogroup] with functions that may fail and that see the record: see [Stream.Try].
type TrySessionCogroup[K, A any] struct{ c SessionCogroup[K, A] }

// Try gives the same aggregation with full functions: see [Stream.Try].
func (c SessionCogroup[K, A]) Try[T TrySessionCogroup[K, A]]() TrySessionCogroup[K, A] {
	return TrySessionCogroup[K, A]{c}
}

// Aggregate is [SessionCogroup.Aggregate] with a full function.
func (t TrySessionCogroup[K, A]) Aggregate[S state.Session[K, A]](
	st S, initial func() A, merge func(c *Call, key K, a, b A) (A, error),
) WindowTable[K, A] {
	t.c.c.builder().needs("Aggregate", initial == nil, merge == nil)
	return sessionCogroup(t.c, state.Session[K, A](st), initial, merge)
}

// TryGroupedTable has the aggregations of a [GroupedTable] with functions that may fail and that see the record: see
// [Stream.Try].
type TryGroupedTable[K, V any] struct{ g GroupedTable[K, V] }

// Try gives the same aggregations with full functions: see [Stream.Try]. The key is the group's, and the call is the
// change of the row as it came to the group.
func (g GroupedTable[K, V]) Try[T TryGroupedTable[K, V]]() TryGroupedTable[K, V] {
	return TryGroupedTable[K, V]{g}
}

// Reduce is [GroupedTable.Reduce] with full functions.
func (t TryGroupedTable[K, V]) Reduce[S state.KV[K, V]](
	st S, add, sub func(*Call, K, V, V) (V, error),
) Table[K, V] {
	t.g.n.needs("Reduce", add == nil, sub == nil)
	return aggregateTable(t.g, "reduce", state.KV[K, V](st), op.ReduceFold(add), op.ReduceFold(sub))
}

// Aggregate is [GroupedTable.Aggregate] with full functions.
func (t TryGroupedTable[K, V]) Aggregate[A any](
	st state.KV[K, A], initial func() A, add, sub func(*Call, K, V, A) (A, error),
) Table[K, A] {
	t.g.n.needs("Aggregate", initial == nil, add == nil, sub == nil)
	return aggregateTable(t.g, "aggregate", st, op.AggregateFold(initial, add), op.AggregateFold(initial, sub))
}

// Top is [GroupedTable.Top] with a full function.
func (t TryGroupedTable[K, V]) Top[A ~[]V](
	st state.KV[K, A], n int, compare func(c *Call, key K, a, b V) (int, error),
) Table[K, A] {
	t.g.n.needs("Top", compare == nil)
	return topOfTable(t.g, st, n, compare)
}

// TryWindowedGroup has the aggregations of a [WindowedGroup] with functions that may fail and that see the record: see
// [Stream.Try].
type TryWindowedGroup[K, V any] struct{ g WindowedGroup[K, V] }

// Try gives the same aggregations with full functions: see [Grouped.Try]. A record that fails in one of its windows is
// in none.
func (g WindowedGroup[K, V]) Try[T TryWindowedGroup[K, V]]() TryWindowedGroup[K, V] {
	return TryWindowedGroup[K, V]{g}
}

// Reduce is [WindowedGroup.Reduce] with a full function.
func (t TryWindowedGroup[K, V]) Reduce[S state.Windowed[K, V]](
	st S, f func(*Call, K, V, V) (V, error),
) WindowTable[K, V] {
	t.g.s.n.needs("Reduce", f == nil)
	return windowed(t.g, "reduce", state.Windowed[K, V](st), op.ReduceFold(f), serde.IsNilable[V]())
}

// Aggregate is [WindowedGroup.Aggregate] with a full function.
func (t TryWindowedGroup[K, V]) Aggregate[A any](
	st state.Windowed[K, A], initial func() A, add func(*Call, K, V, A) (A, error),
) WindowTable[K, A] {
	t.g.s.n.needs("Aggregate", initial == nil, add == nil)
	return windowed(t.g, "aggregate", st, op.AggregateFold(initial, add), serde.IsNilable[V]())
}

// Top is [WindowedGroup.Top] with a full function.
func (t TryWindowedGroup[K, V]) Top[A ~[]V](
	st state.Windowed[K, A], n int, compare func(c *Call, key K, a, b V) (int, error),
) WindowTable[K, A] {
	t.g.s.n.needs("Top", compare == nil)
	mustKeepSome(t.g.s.n.builder(), n)
	return windowed(t.g, "top", st, op.TopFold[K, V, A](n, compare), serde.IsNilable[V]())
}

// TrySessionGroup has the aggregations of a [SessionGroup] with functions that may fail and that see the record: see
// [Stream.Try].
type TrySessionGroup[K, V any] struct{ g SessionGroup[K, V] }

// Try gives the same aggregations with full functions: see [Grouped.Try].
func (g SessionGroup[K, V]) Try[T TrySessionGroup[K, V]]() TrySessionGroup[K, V] {
	return TrySessionGroup[K, V]{g}
}

// Reduce is [SessionGroup.Reduce] with a full function.
func (t TrySessionGroup[K, V]) Reduce[S state.Session[K, V]](
	st S, f func(*Call, K, V, V) (V, error),
) WindowTable[K, V] {
	t.g.s.n.needs("Reduce", f == nil)
	return reduceSessions(t.g, state.Session[K, V](st), f)
}

// Aggregate is [SessionGroup.Aggregate] with full functions.
func (t TrySessionGroup[K, V]) Aggregate[A any](
	st state.Session[K, A], initial func() A, add func(*Call, K, V, A) (A, error),
	merge func(c *Call, key K, a, b A) (A, error),
) WindowTable[K, A] {
	t.g.s.n.needs("Aggregate", initial == nil, add == nil, merge == nil)
	return aggregateSessions(t.g, st, initial, add, merge)
}
