package stream

import (
	"thalweg/stream/internal/op"
)

// TryTable has the operators of a [Table] with functions that may fail and that see the change of the row: see
// [Table.Try].
type TryTable[K, V any] struct{ t Table[K, V] }

// Try gives the same operators with full functions: see [Stream.Try]. The call is the change of the row: where a commit
// emits it, it has no record of a topic.
//
// A row for which a function fails, and that the policy skips, is no row for what comes after: the row before it is
// deleted there. A table that is kept nowhere is computed again where it is looked up: if its function fails there, the
// record fails that looks it up, and is the call.
func (t Table[K, V]) Try[T TryTable[K, V]]() TryTable[K, V] { return TryTable[K, V]{t} }

// Filter is [Table.Filter] with a full function.
func (t TryTable[K, V]) Filter[F ~func(*Call, K, V) (bool, error)](keep F) Table[K, V] {
	t.t.n.needs("Filter", keep == nil)
	return filterTable(t.t, "filter", keep, true)
}

// FilterNot is [Table.FilterNot] with a full function.
func (t TryTable[K, V]) FilterNot[F ~func(*Call, K, V) (bool, error)](drop F) Table[K, V] {
	t.t.n.needs("FilterNot", drop == nil)
	return filterTable(t.t, "filter-not", drop, false)
}

// MapValues is [Table.MapValues] with a full function.
func (t TryTable[K, V]) MapValues[V2 any](f func(*Call, K, V) (V2, error)) Table[K, V2] {
	t.t.n.needs("MapValues", f == nil)
	return mapTable(t.t, f)
}

// TransformValues is [Table.TransformValues] with a full function.
func (t TryTable[K, V]) TransformValues[V2 any](f func(*Call, K, *V) (V2, error)) Table[K, V2] {
	t.t.n.needs("TransformValues", f == nil)
	return transformTable(t.t, f)
}

// GroupBy is [Table.GroupBy] with a full function.
func (t TryTable[K, V]) GroupBy[K2, V2 any](
	name string, f func(*Call, K, V) (K2, V2, error),
) GroupedTable[K2, V2] {
	t.t.n.needs("GroupBy", f == nil)
	return groupTable(t.t.n, name, f)
}

// Join is [Table.Join] with a full function.
func (t TryTable[K, V]) Join[V2, R any](o Table[K, V2], f func(*Call, K, V, V2) (R, error)) Table[K, R] {
	t.t.n.needs("Join", f == nil)
	return joinTables(t.t, "Join", o, true, true, innerOf(f))
}

// LeftJoin is [Table.LeftJoin] with a full function.
func (t TryTable[K, V]) LeftJoin[V2, R any](o Table[K, V2], f func(*Call, K, V, *V2) (R, error)) Table[K, R] {
	t.t.n.needs("LeftJoin", f == nil)
	return joinTables(t.t, "LeftJoin", o, true, false, leftOf(f))
}

// OuterJoin is [Table.OuterJoin] with a full function.
func (t TryTable[K, V]) OuterJoin[V2, R any](o Table[K, V2], f func(*Call, K, *V, *V2) (R, error)) Table[K, R] {
	t.t.n.needs("OuterJoin", f == nil)
	return joinTables(t.t, "OuterJoin", o, false, false, f)
}

// JoinForeign is [Table.JoinForeign] with full functions. The call of f is the answer of the other table, which comes
// through a topic of the application's own.
func (t TryTable[K, V]) JoinForeign[FK comparable, FV, R any](
	o Table[FK, FV], fk func(*Call, K, V) (FK, bool, error), name string, f func(*Call, K, V, FV) (R, error),
) Table[K, R] {
	t.t.n.needs("JoinForeign", fk == nil, f == nil)
	return joinForeign(t.t, "JoinForeign", o, fk, name, false, foundOf(f))
}

// LeftJoinForeign is [Table.LeftJoinForeign] with full functions: see [TryTable.JoinForeign].
func (t TryTable[K, V]) LeftJoinForeign[FK comparable, FV, R any](
	o Table[FK, FV], fk func(*Call, K, V) (FK, bool, error), name string, f func(*Call, K, V, *FV) (R, error),
) Table[K, R] {
	t.t.n.needs("LeftJoinForeign", fk == nil, f == nil)
	return joinForeign(t.t, "LeftJoinForeign", o, fk, name, true, f)
}

// TryWindowTable has the operators of a [WindowTable] with functions that may fail and that see the change of the row:
// see [WindowTable.Try].
type TryWindowTable[K, V any] struct{ t WindowTable[K, V] }

// Try gives the same operators with full functions: see [Table.Try]. The window follows the key in each of them.
func (t WindowTable[K, V]) Try[T TryWindowTable[K, V]]() TryWindowTable[K, V] {
	return TryWindowTable[K, V]{t}
}

// ToStream is [WindowTable.ToStream] with a full function.
func (t TryWindowTable[K, V]) ToStream[KO any](key func(*Call, K, Span) (KO, error)) Stream[KO, V] {
	t.t.n.needs("ToStream", key == nil)
	return windowToStream(t.t, key)
}

// Filter is [WindowTable.Filter] with a full function.
func (t TryWindowTable[K, V]) Filter[F ~func(*Call, K, Span, V) (bool, error)](keep F) WindowTable[K, V] {
	t.t.n.needs("Filter", keep == nil)
	return filterWindows(t.t, "filter", atWindow[K, V, bool](keep), true)
}

// FilterNot is [WindowTable.FilterNot] with a full function.
func (t TryWindowTable[K, V]) FilterNot[F ~func(*Call, K, Span, V) (bool, error)](drop F) WindowTable[K, V] {
	t.t.n.needs("FilterNot", drop == nil)
	return filterWindows(t.t, "filter-not", atWindow[K, V, bool](drop), false)
}

// MapValues is [WindowTable.MapValues] with a full function.
func (t TryWindowTable[K, V]) MapValues[V2 any](f func(*Call, K, Span, V) (V2, error)) WindowTable[K, V2] {
	t.t.n.needs("MapValues", f == nil)
	return mapWindows(t.t, atWindow(f))
}

// GroupBy is [WindowTable.GroupBy] with a full function.
func (t TryWindowTable[K, V]) GroupBy[K2, V2 any](
	name string, f func(*Call, K, Span, V) (K2, V2, error),
) GroupedTable[K2, V2] {
	t.t.n.needs("GroupBy", f == nil)
	return groupTable(t.t.n, name, func(c *Call, w op.Windowed[K], v V) (K2, V2, error) {
		return f(c, w.Key, w.Span, v)
	})
}

// Join is [WindowTable.Join] with a full function.
func (t TryWindowTable[K, V]) Join[V2, R any](
	o WindowTable[K, V2], f func(*Call, K, Span, V, V2) (R, error),
) WindowTable[K, R] {
	t.t.n.needs("Join", f == nil)
	return joinWindows(t.t, "Join", o, true, true, func(c *Call, w op.Windowed[K], v *V, o *V2) (R, error) {
		return f(c, w.Key, w.Span, *v, *o)
	})
}

// LeftJoin is [WindowTable.LeftJoin] with a full function.
func (t TryWindowTable[K, V]) LeftJoin[V2, R any](
	o WindowTable[K, V2], f func(*Call, K, Span, V, *V2) (R, error),
) WindowTable[K, R] {
	t.t.n.needs("LeftJoin", f == nil)
	return joinWindows(t.t, "LeftJoin", o, true, false, func(c *Call, w op.Windowed[K], v *V, o *V2) (R, error) {
		return f(c, w.Key, w.Span, *v, o)
	})
}

// OuterJoin is [WindowTable.OuterJoin] with a full function.
func (t TryWindowTable[K, V]) OuterJoin[V2, R any](
	o WindowTable[K, V2], f func(*Call, K, Span, *V, *V2) (R, error),
) WindowTable[K, R] {
	t.t.n.needs("OuterJoin", f == nil)
	return joinWindows(t.t, "OuterJoin", o, false, false, func(c *Call, w op.Windowed[K], v *V, o *V2) (R, error) {
		return f(c, w.Key, w.Span, v, o)
	})
}

// atWindow gives a full function the window that lies in the key.
func atWindow[K, V, R any](f func(*Call, K, Span, V) (R, error)) func(*Call, op.Windowed[K], V) (R, error) {
	return func(c *Call, w op.Windowed[K], v V) (R, error) { return f(c, w.Key, w.Span, v) }
}
