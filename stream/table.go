package stream

import (
	"reflect"
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Table is a sequence of changes of rows: of a key only the newest counts. It is a small value.
type Table[K, V any] struct {
	n      *node
	view   op.View[K, V] // how other nodes read it; nil: its rows are kept nowhere
	reads  []state.Store // what the view opens
	keys   serde.Serde[K]
	values serde.Serde[V]
}

// stored is the table of a node that keeps its rows in a store.
func stored[K, V any](n *node, st state.KV[K, V]) Table[K, V] {
	return Table[K, V]{n, op.StoreView(st), []state.Store{st}, st.KeySerde(), st.ValueSerde()}
}

// Named names the operator that made the table, in metrics, drawings and error texts. Otherwise its name is made of its
// store's, or of what it hangs on and its kind.
func (t Table[K, V]) Named[N ~string](name N) Table[K, V] {
	t.n.named(string(name))
	return t
}

// Emit sets when the operator that made the table emits changes of its rows; otherwise as [Builder.Emit] does. It is a
// setting of operators that keep rows.
func (t Table[K, V]) Emit[E Emit](e E) Table[K, V] {
	t.n.emitting(Emit(e))
	return t
}

// Keys sets the serde with which the keys of the rows are encoded from here on, in topics and buffers of the
// application's own: of joins by foreign key and suppressions. The store of the table has its own.
func (t Table[K, V]) Keys[S serde.Serde[K]](keys S) Table[K, V] {
	if t.n.mustHaveSerde("Keys", keys) {
		t.keys = keys
	}
	return t
}

// Values sets the serde with which the rows are encoded from here on, in topics and buffers of the application's own:
// see [Table.Keys]. Directly behind [Table.JoinForeign], before another operator reads the table, it is the serde of
// the rows in its store, too.
func (t Table[K, V]) Values[S serde.Serde[V]](values S) Table[K, V] {
	if !t.n.mustHaveSerde("Values", values) {
		return t
	}
	t.values = values
	if again, ok := t.n.recode.(func(serde.Serde[V]) Table[K, V]); ok {
		return again(t.values)
	}
	return t
}

// Table reads a topic as a table, kept in a store. A null value deletes a row; a record without a key is dropped and
// counted. [Table.Emit] sets when changes go on. With the commit, a row that came and went in between, or never was, is
// not emitted.
func (b *Builder) Table[K, V any](t Topic[K, V], st state.KV[K, V]) Table[K, V] {
	site := caller()
	n, keys, values := source(b, site, "Table", []Topic[K, V]{t})
	to := table(n, site, "table", st.Inherit(keys, values))
	to.n.RowsAreRecords = isStoredAs(topology.SourceOf(t), st)
	return to
}

// ToTable takes the stream as changes of a table, kept in a store: see [Builder.Table].
func (s Stream[K, V]) ToTable[S state.KV[K, V]](st S) Table[K, V] {
	site := caller()
	s.n.mustBeByKey("ToTable", site)
	return table(s.n, site, "to-table", state.KV[K, V](st).Inherit(s.keys, s.values))
}

// isStoredAs tells whether the rows of a store have the bytes and times of the topic's records. A value of theirs that
// is read as nil would be a row in the store, so only what is never nil, or as bytes, will do.
func isStoredAs[K, V any](t topology.SourceConfig[K, V], st state.KV[K, V]) bool {
	neverNil := !serde.IsNilable[V]()
	if v := reflect.TypeFor[V](); v.Kind() == reflect.Pointer && same(t.Values, serde.For[V]()) {
		neverNil = v.Elem().Kind() < reflect.Complex64 || v.Elem().Kind() == reflect.String // no type with a null within
	}
	return neverNil && t.Timestamps == nil && st.Spec().TTL == 0 && serde.SameBytes(t.Keys, st.KeySerde()) &&
		serde.SameBytes(t.Values, st.ValueSerde())
}

func table[K, V any](parent *node, site, method string, st state.KV[K, V]) Table[K, V] {
	n := &node{}
	rows := n.rows(byDefault)
	parent.b.put(n, method, method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, Make: op.Table(st, rows),
	}, parent)
	parent.b.own(n, st)
	checkTTL(parent.b, site, st)
	return stored(n, st)
}

// checkTTL refuses a time to live that is none.
func checkTTL(b *Builder, site string, st state.Store) {
	reported := len(b.errs)
	if ttl := st.Spec().TTL; ttl < 0 || ttl > 0 && ttl < time.Millisecond {
		b.fail(site, "store %q: rows live for %v: they need a millisecond at least", st.Name(), ttl)
	}
	b.mustBeWhole(reported, site, "store "+st.Name()+": TTL", st.Spec().TTL)
}

// mustLive refuses a time to live where a row that is gone would make others wrong.
func mustLive(b *Builder, site, method string, st state.Store) {
	if st.Spec().TTL != 0 {
		b.fail(site, "%s: the rows of store %q can't have a time to live: leave TTL out, or set it on a table made of "+
			"this one with Materialize", method, st.Name())
	}
}

// LazyTable is [Builder.Table] with a store that is kept only if an operator needs it: a join, a regrouping, a
// suppression. Where none does, changes go on at once, and a filter tells of the deletion of rows that never passed it.
func (b *Builder) LazyTable[K, V any](t Topic[K, V], st state.KV[K, V]) Table[K, V] {
	site := caller()
	n, keys, values := source(b, site, "LazyTable", []Topic[K, V]{t})
	return lazyTable(n, site, "LazyTable", "lazy-table-"+st.Name(), st.Inherit(keys, values))
}

// ToLazyTable is [Stream.ToTable] with a store that is kept only if an operator needs it: see [Builder.LazyTable].
func (s Stream[K, V]) ToLazyTable[S state.KV[K, V]](store S) Table[K, V] {
	site, st := caller(), state.KV[K, V](store)
	s.n.mustBeByKey("ToLazyTable", site)
	return lazyTable(s.n, site, "ToLazyTable", "to-lazy-table-"+st.Name(), st.Inherit(s.keys, s.values))
}

func lazyTable[K, V any](parent *node, site, method, name string, st state.KV[K, V]) Table[K, V] {
	return lazyTableOf(&node{}, parent, site, method, name, &st)
}

func lazyTableOf[K, V any](n, parent *node, site, method, name string, st *state.KV[K, V]) Table[K, V] {
	kept := false
	n.keep = func() {
		if !kept {
			kept = true
			n.Stores = []state.Store{*st}
			n.b.own(n, *st)
		}
	}
	rows := n.rows(byDefault)
	parent.b.put(n, "lazy-table", name, &topology.Node{
		Kind: topology.KindProcessor, Site: site, ByKey: true, Make: func(in *topology.Instance, next []any) (any, error) {
			if kept {
				return op.Table(*st, rows)(in, next)
			}
			return op.StatelessTable[K, V]()(in, next)
		},
	}, parent)
	n.op = method
	checkTTL(parent.b, site, *st)
	n.askOld, n.oldFree = n.keep, func() bool { return kept }
	return stored(n, *st)
}

// VersionedTable reads a topic as a table that remembers the past: joins of streams see the row that a key had at the
// time of the record. A row older than the store's history is left out, counted.
func (b *Builder) VersionedTable[K, V any](t Topic[K, V], st state.Versioned[K, V]) Table[K, V] {
	site := caller()
	n, keys, values := source(b, site, "VersionedTable", []Topic[K, V]{t})
	return versionedTable(n, site, "versioned-table", st.Inherit(keys, values))
}

// ToVersionedTable takes the stream as changes of a table that remembers the past: see [Builder.VersionedTable].
func (s Stream[K, V]) ToVersionedTable[S state.Versioned[K, V]](st S) Table[K, V] {
	site := caller()
	s.n.mustBeByKey("ToVersionedTable", site)
	return versionedTable(s.n, site, "to-versioned-table", state.Versioned[K, V](st).Inherit(s.keys, s.values))
}

func versionedTable[K, V any](parent *node, site, method string, st state.Versioned[K, V]) Table[K, V] {
	n := &node{}
	return versionedBy(n, parent, site, method, st, op.VersionedTable(st, &n.old))
}

// MaterializeVersioned keeps the rows in a store that remembers the past: see [Builder.VersionedTable].
func (t Table[K, V]) MaterializeVersioned[S state.Versioned[K, V]](store S) Table[K, V] {
	n, st := &node{}, state.Versioned[K, V](store).Inherit(t.keys, t.values)
	return versionedBy(n, t.n, caller(), "materialize-versioned", st,
		op.MaterializeVersioned(st, op.Rows{Old: &n.old, Sparse: t.n.sparse()}))
}

// versionedBy adds a node that keeps its rows in a store with a history.
func versionedBy[K, V any](
	n, parent *node, site, method string, st state.Versioned[K, V], keep topology.Make,
) Table[K, V] {
	n.versioned, n.history = true, st.Spec().Retention
	parent.b.put(n, method, method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, Make: keep,
	}, parent)
	reported := len(parent.b.errs)
	if n.history >= time.Millisecond { // or the store refuses itself
		parent.b.mustBeWhole(reported, site, "store "+st.Name()+": history", n.history)
	}
	parent.b.own(n, st)
	return Table[K, V]{n, op.VersionedView(st), []state.Store{st}, st.KeySerde(), st.ValueSerde()}
}

// Filter keeps the rows for which keep holds; a row for which it no longer does is deleted.
func (t Table[K, V]) Filter[F ~func(K, V) bool](keep F) Table[K, V] {
	t.n.needs("Filter", keep == nil)
	return filterTable(t, "filter", ofTwo[K, V, bool](keep), true)
}

// FilterNot drops the rows for which drop holds.
func (t Table[K, V]) FilterNot[F ~func(K, V) bool](drop F) Table[K, V] {
	t.n.needs("FilterNot", drop == nil)
	return filterTable(t, "filter-not", ofTwo[K, V, bool](drop), false)
}

func filterTable[K, V any](
	t Table[K, V], method string, pass func(*topology.Call, K, V) (bool, error), want bool,
) Table[K, V] {
	t.n = t.n.thenFilter(method, pass, want)
	if t.view != nil {
		t.view = op.FilterView(t.view, pass, want)
	}
	return t
}

// sparse tells that the node's deletions may be of rows that never were, and mean nothing then.
func (n *node) sparse() bool { return n.filters && !n.versioned }

func (n *node) thenFilter[K, V any](
	method string, pass func(*topology.Call, K, V) (bool, error), want bool,
) *node {
	to := &node{filters: true}
	n.builder().put(to, method, "", &topology.Node{
		Kind: topology.KindProcessor, Site: caller(), Make: op.FilterTable(pass, want, n.versioned, &to.old),
	}, n)
	to.through(n)
	if n.oldForFree() {
		to.needOld() // spares tombstones for rows that never passed
	}
	return to
}

// MapValues replaces the value of each row. A nil result is no row.
func (t Table[K, V]) MapValues[V2 any](f func(V) V2) Table[K, V2] {
	t.n.needs("MapValues", f == nil)
	return mapTable(t, ofValue[K](f))
}

func mapTable[K, V, V2 any](t Table[K, V], f func(*topology.Call, K, V) (V2, error)) Table[K, V2] {
	to := Table[K, V2]{n: t.n.thenMap(f), reads: t.reads, keys: t.keys}
	if t.view != nil {
		to.view = op.MapView(t.view, f)
	}
	return to
}

func (n *node) thenMap[K, V, V2 any](f func(*topology.Call, K, V) (V2, error)) *node {
	to := &node{}
	n.builder().put(to, "map-values", "", &topology.Node{
		Kind: topology.KindProcessor, Site: caller(), Make: op.MapTable(f, &to.old), ChangesValue: true,
	}, n)
	to.through(n)
	return to
}

// TransformValues replaces the value of each row, and is asked about rows that there are not, too: it gets nil for
// these. A nil result of a nilable type is no row. The pointer is valid during the call.
func (t Table[K, V]) TransformValues[V2 any](f func(K, *V) V2) Table[K, V2] {
	return transformTable(t, ofTwo(f))
}

func transformTable[K, V, V2 any](t Table[K, V], f func(*topology.Call, K, *V) (V2, error)) Table[K, V2] {
	n := &node{}
	t.n.needs("TransformValues", f == nil)
	t.n.builder().put(n, "transform-values", "", &topology.Node{
		Kind: topology.KindProcessor, Site: caller(), Make: op.TransformTable(f, &n.old), ChangesValue: true,
	}, t.n)
	n.through(t.n)
	to := Table[K, V2]{n: n, reads: t.reads, keys: t.keys}
	if t.view != nil {
		to.view = op.TransformView(t.view, f)
	}
	return to
}

// through says that the node's old rows come from its parent.
func (n *node) through(parent *node) {
	n.versioned, n.history = parent.versioned, parent.history
	n.keep = parent.keep
	n.askOld, n.oldFree = parent.needOld, parent.oldForFree
}

// Materialize keeps the rows in a store, where they can be queried. Changes go on as those of [Builder.Table] do.
func (t Table[K, V]) Materialize[S state.KV[K, V]](store S) Table[K, V] {
	n, st := &node{}, state.KV[K, V](store).Inherit(t.keys, t.values)
	site, b := caller(), t.n.builder()
	rows := n.rows(byDefault)
	rows.Sparse = t.n.sparse()
	b.put(n, "materialize", "materialize-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st},
		Make: op.Materialize(st, rows),
	}, t.n)
	b.own(n, st)
	checkTTL(b, site, st)
	return stored(n, st)
}

// ToStream is the table's changes as records; a deletion has a null value.
func (t Table[K, V]) ToStream[S Stream[K, V]]() Stream[K, V] {
	return Stream[K, V]{t.n.then("to-stream", op.ToStream[K, V]()), t.keys, t.values}
}
