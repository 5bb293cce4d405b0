package stream

import (
	"slices"

	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// JoinTable joins each record with the table's newest row of its key; records without one go nowhere. Changes of the
// table join nothing by themselves.
func (s Stream[K, V]) JoinTable[V2, R any](t Table[K, V2], f func(V, V2) R) Stream[K, R] {
	s.n.needs("JoinTable", f == nil)
	return joinTable(s, "JoinTable", t, false, func(_ *topology.Call, _ K, v V, o *V2) (R, error) {
		return f(v, *o), nil
	})
}

// LeftJoinTable joins each record with the table's newest row of its key, or with nil. The pointer is valid during the
// call.
func (s Stream[K, V]) LeftJoinTable[V2, R any](t Table[K, V2], f func(V, *V2) R) Stream[K, R] {
	s.n.needs("LeftJoinTable", f == nil)
	return joinTable(s, "LeftJoinTable", t, true, ofValues[K](f))
}

func joinTable[K, V, V2, R any](
	s Stream[K, V], method string, t Table[K, V2], left bool, f func(*topology.Call, K, V, *V2) (R, error),
) Stream[K, R] {
	site := caller()
	s.n.mustBeByKey(method, site)
	mustBeKept(t.n, t.view != nil, method, site)
	n := s.n.builder().add("join-table", "", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Make: op.JoinTable(t.view, left, f), Stores: t.reads, ByKey: true,
		ChangesValue: true, Beside: []*topology.Node{t.n.Node},
	}, s.n)
	n.relaxed = left
	n.sameBuilder(t.n, method)
	return Stream[K, R]{n: n, keys: s.keys}
}

// sameBuilder refuses to mix the nodes of two builders.
func (n *node) sameBuilder(o *node, method string) {
	if n.b != o.builder() {
		n.b.fail(n.Site, "%s: the other side was made by another builder", method)
	}
}

// mustBeKept refuses to read a table whose rows are kept nowhere.
func mustBeKept(n *node, kept bool, method, site string) {
	n.builder()
	if n.keep != nil {
		n.keep()
	}
	if !kept {
		n.b.fail(site, "%s reads the rows of a table, but they are kept nowhere: give %s (%s) a store, or Materialize it",
			method, n.op, n.Site)
	}
}

// Join is the table of the keys that both tables have.
func (t Table[K, V]) Join[V2, R any](o Table[K, V2], f func(V, V2) R) Table[K, R] {
	t.n.needs("Join", f == nil)
	return joinTables(t, "Join", o, true, true, func(_ *topology.Call, _ K, v *V, o *V2) (R, error) {
		return f(*v, *o), nil
	})
}

// LeftJoin is the table of the keys that this table has; the other's row may be nil. Pointers are valid during the
// call.
func (t Table[K, V]) LeftJoin[V2, R any](o Table[K, V2], f func(V, *V2) R) Table[K, R] {
	t.n.needs("LeftJoin", f == nil)
	return joinTables(t, "LeftJoin", o, true, false, func(_ *topology.Call, _ K, v *V, o *V2) (R, error) {
		return f(*v, o), nil
	})
}

// OuterJoin is the table of the keys that either table has; one of the rows may be nil. Pointers are valid during the
// call.
func (t Table[K, V]) OuterJoin[V2, R any](o Table[K, V2], f func(*V, *V2) R) Table[K, R] {
	t.n.needs("OuterJoin", f == nil)
	return joinTables(t, "OuterJoin", o, false, false, ofValues[K](f))
}

func joinTables[K, V, V2, R any](
	t Table[K, V], method string, o Table[K, V2], mustLeft, mustRight bool,
	f func(*topology.Call, K, *V, *V2) (R, error),
) Table[K, R] {
	j := join[K, V, V2, R]{method, t.n, o.n, t.view, o.view, t.reads, o.reads, mustLeft, mustRight, f}
	n, view := j.add()
	return Table[K, R]{n: n, view: view, reads: union(t.reads, o.reads), keys: t.keys}
}

// join is a join of two tables, of plain or windowed keys.
type join[K, V, V2, R any] struct {
	method              string
	l, r                *node
	lView               op.View[K, V]
	rView               op.View[K, V2]
	lReads, rReads      []state.Store
	mustLeft, mustRight bool
	f                   func(*topology.Call, K, *V, *V2) (R, error)
}

func (j join[K, V, V2, R]) add() (*node, op.View[K, R]) {
	site, b := caller(), j.l.builder()
	j.l.mustBeByKey(j.method, site)
	j.r.mustBeByKey(j.method, site)
	mustBeKept(j.l, j.lView != nil, j.method, site)
	mustBeKept(j.r, j.rView != nil, j.method, site)
	left, right, n, f := &node{}, &node{}, &node{}, j.f
	shared := sharedStores(j.lReads, j.rReads)
	left.partOf(n, "left")
	right.partOf(n, "right")
	n.under = j.l
	b.put(left, "join-tables", "", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: j.rReads, ByKey: true, Beside: []*topology.Node{j.r.Node},
		Make: op.JoinTables(j.rView, op.Side{
			MustOther: j.mustRight, MustOwn: j.mustLeft, Old: &left.old, Left: true, Shared: shared, Join: n,
		}, f),
	}, j.l)
	b.put(right, "join-tables", "", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: j.lReads, ByKey: true, Beside: []*topology.Node{j.l.Node},
		Make: op.JoinTables(j.lView, op.Side{
			MustOther: j.mustLeft, MustOwn: j.mustRight, Old: &right.old, Shared: shared, Join: n,
		},
			func(c *topology.Call, k K, o *V2, v *V) (R, error) { return f(c, k, v, o) }),
	}, j.r)
	left.askOld, right.askOld = j.l.needOld, j.r.needOld
	if !j.mustRight || len(shared) > 0 { // a deletion of what was not there must be told apart
		j.l.needOld()
	}
	if !j.mustLeft || len(shared) > 0 {
		j.r.needOld()
	}
	b.put(n, "join-tables", "", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Make: op.Pass[K, topology.Change[R]](), ByKey: true, ChangesValue: true,
	}, left, right)
	left.op, right.op, n.op = j.method, j.method, j.method
	n.askOld = func() { left.needOld(); right.needOld() }
	n.oldFree = func() bool { return j.l.oldForFree() && j.r.oldForFree() }
	if j.lView == nil || j.rView == nil {
		return n, nil
	}
	return n, op.JoinedView(j.lView, j.rView, j.mustLeft, j.mustRight, f)
}

// sharedStores are the names of the stores in both.
func sharedStores(a, b []state.Store) (names []string) {
	for _, s := range a {
		if slices.ContainsFunc(b, func(o state.Store) bool { return o.Name() == s.Name() }) {
			names = append(names, s.Name())
		}
	}
	return names
}

func union(a, b []state.Store) []state.Store {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.ContainsFunc(all, func(o state.Store) bool { return o.Name() == s.Name() }) {
			all = append(all, s)
		}
	}
	return all
}
