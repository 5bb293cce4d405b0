package stream

import (
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// WindowTable is a table with a row for each key and window. It is a small value.
type WindowTable[K, V any] struct {
	n      *node
	view   op.View[op.Windowed[K], V]
	reads  []state.Store
	keys   serde.Serde[K]
	values serde.Serde[V]
	grace  time.Duration // how long after its end a window is closed; negative: never
	size   int64         // of each window, in milliseconds; negative: any
}

// Named names the operator that made the table: see [Table.Named].
func (t WindowTable[K, V]) Named[N ~string](name N) WindowTable[K, V] {
	t.n.named(string(name))
	return t
}

// Keys sets the serde with which the keys are encoded from here on, without their windows, in buffers of the
// application's own: see [Table.Keys].
func (t WindowTable[K, V]) Keys[S serde.Serde[K]](keys S) WindowTable[K, V] {
	if t.n.mustHaveSerde("Keys", keys) {
		t.keys = keys
	}
	return t
}

// Values sets the serde with which the rows are encoded from here on: see [Table.Values].
func (t WindowTable[K, V]) Values[S serde.Serde[V]](values S) WindowTable[K, V] {
	if t.n.mustHaveSerde("Values", values) {
		t.values = values
	}
	return t
}

// ToStream is the table's changes as records, under keys that key makes of key and window: [WindowKey] keeps both. A
// deletion has a null value.
func (t WindowTable[K, V]) ToStream[KO any](key func(K, Span) KO) Stream[KO, V] {
	t.n.needs("ToStream", key == nil)
	return windowToStream(t, ofTwo(key))
}

// KeyStream is the table's changes as records under their keys, in the partitions in which they are: no Repartition is
// needed behind it. Which window a record is of it does not say, but a function before it can put that into the value,
// with Try().MapValues. A deletion has a null value.
func (t WindowTable[K, V]) KeyStream[S Stream[K, V]]() Stream[K, V] {
	n := t.n.then("key-stream", op.WindowToStream[K, V](func(_ *topology.Call, key K, _ Span) (K, error) {
		return key, nil
	}))
	return Stream[K, V]{n: n, keys: t.keys, values: t.values}
}

func windowToStream[K, V, KO any](
	t WindowTable[K, V], key func(*topology.Call, K, Span) (KO, error),
) Stream[KO, V] {
	n := t.n.then("to-stream", op.WindowToStream[K, V](key))
	return Stream[KO, V]{n: n.moves("ToStream"), values: t.values}
}

// Filter keeps the rows for which keep holds; a row for which it no longer does is deleted.
func (t WindowTable[K, V]) Filter[F ~func(K, Span, V) bool](keep F) WindowTable[K, V] {
	t.n.needs("Filter", keep == nil)
	return filterWindows(t, "filter", ofWindow[K, V, bool](keep), true)
}

// FilterNot drops the rows for which drop holds.
func (t WindowTable[K, V]) FilterNot[F ~func(K, Span, V) bool](drop F) WindowTable[K, V] {
	t.n.needs("FilterNot", drop == nil)
	return filterWindows(t, "filter-not", ofWindow[K, V, bool](drop), false)
}

func filterWindows[K, V any](
	t WindowTable[K, V], method string, pass func(*topology.Call, op.Windowed[K], V) (bool, error), want bool,
) WindowTable[K, V] {
	t.n = t.n.thenFilter(method, pass, want)
	if t.view != nil {
		t.view = op.FilterView(t.view, pass, want)
	}
	return t
}

// MapValues replaces the value of each row. A nil result is no row.
func (t WindowTable[K, V]) MapValues[V2 any](f func(V) V2) WindowTable[K, V2] {
	t.n.needs("MapValues", f == nil)
	return mapWindows(t, ofValue[op.Windowed[K]](f))
}

func mapWindows[K, V, V2 any](
	t WindowTable[K, V], f func(*topology.Call, op.Windowed[K], V) (V2, error),
) WindowTable[K, V2] {
	to := WindowTable[K, V2]{n: t.n.thenMap(f), reads: t.reads, keys: t.keys, grace: t.grace, size: t.size}
	if t.view != nil {
		to.view = op.MapView(t.view, f)
	}
	return to
}

// Join is the table of the keys and windows that both tables have.
func (t WindowTable[K, V]) Join[V2, R any](o WindowTable[K, V2], f func(V, V2) R) WindowTable[K, R] {
	t.n.needs("Join", f == nil)
	return joinWindows(t, "Join", o, true, true, func(_ *topology.Call, _ op.Windowed[K], v *V, o *V2) (R, error) {
		return f(*v, *o), nil
	})
}

// LeftJoin is the table of the keys and windows that this table has; the other's row may be nil. Pointers are valid
// during the call.
func (t WindowTable[K, V]) LeftJoin[V2, R any](o WindowTable[K, V2], f func(V, *V2) R) WindowTable[K, R] {
	t.n.needs("LeftJoin", f == nil)
	return joinWindows(t, "LeftJoin", o, true, false, func(_ *topology.Call, _ op.Windowed[K], v *V, o *V2) (R, error) {
		return f(*v, o), nil
	})
}

// OuterJoin is the table of the keys and windows that either table has; one of the rows may be nil. Pointers are valid
// during the call.
func (t WindowTable[K, V]) OuterJoin[V2, R any](o WindowTable[K, V2], f func(*V, *V2) R) WindowTable[K, R] {
	t.n.needs("OuterJoin", f == nil)
	return joinWindows(t, "OuterJoin", o, false, false, ofValues[op.Windowed[K]](f))
}

func joinWindows[K, V, V2, R any](
	t WindowTable[K, V], method string, o WindowTable[K, V2], mustLeft, mustRight bool,
	f func(*topology.Call, op.Windowed[K], *V, *V2) (R, error),
) WindowTable[K, R] {
	j := join[op.Windowed[K], V, V2, R]{method, t.n, o.n, t.view, o.view, t.reads, o.reads, mustLeft, mustRight, f}
	n, view := j.add()
	grace := max(t.grace, o.grace)
	if min(t.grace, o.grace) < 0 {
		grace = -1
	}
	size := t.size
	if size != o.size {
		size = -1
	}
	return WindowTable[K, R]{
		n: n, view: view, reads: union(t.reads, o.reads), keys: t.keys, grace: grace, size: size,
	}
}

// GroupBy puts each row into a group: through a repartition of that name. A nil key or value is in no group.
func (t WindowTable[K, V]) GroupBy[K2, V2 any](name string, f func(K, Span, V) (K2, V2)) GroupedTable[K2, V2] {
	t.n.needs("GroupBy", f == nil)
	return groupTable(t.n, name, func(_ *topology.Call, w op.Windowed[K], v V) (K2, V2, error) {
		k, g := f(w.Key, w.Span, v)
		return k, g, nil
	})
}
