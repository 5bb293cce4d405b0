package stream

import (
	"time"

	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// AsOf says which row of a table that remembers the past a record meets. Make one with [AtOrBefore] or [AtOrAfter].
type AsOf struct {
	after      bool
	max, grace time.Duration
	recordsMax int
}

// AtOrBefore is the row of the record's time: the latest one that is not younger than the record. The table may be
// behind the stream: records wait until the stream is grace further.
func AtOrBefore(grace time.Duration) AsOf { return AsOf{grace: grace} }

// AtOrAfter is the earliest row that is not older than the record, and no more than max younger. A deletion is no row.
// Records wait until the stream is max and grace further, also where their row comes sooner: an earlier one may follow.
// The table must be one that is kept in a versioned store itself, not one computed of it: MaterializeVersioned makes
// such a table of any.
func AtOrAfter(max, grace time.Duration) AsOf { return AsOf{after: true, max: max, grace: grace} }

// RecordsMax limits how many records wait in each task; otherwise it is what comes while they do. When more wait the
// application stops: a record joined too soon could meet another row.
func (a AsOf) RecordsMax(n int) AsOf { a.recordsMax = n; return a }

// wait is how much further the stream is when a record meets its row.
func (a AsOf) wait() time.Duration { return sum(a.max, a.grace) }

// JoinAsOf is JoinTable with a versioned table, of which each record meets the row that is said, once the table has had
// time to catch up. Records that are so late that they need not wait are joined at once. The name is that of the buffer
// in which they wait, which is durable.
//
// A stream is joined with another one in this way by making the other a table: [Stream.ToVersionedTable].
func (s Stream[K, V]) JoinAsOf[V2, R any](
	t Table[K, V2], row AsOf, name string, f func(V, V2) R,
) Stream[K, R] {
	s.n.needs("JoinAsOf", f == nil)
	return joinAsOf(s, "JoinAsOf", t, row, name, false, func(_ *topology.Call, _ K, v V, o *V2) (R, error) {
		return f(v, *o), nil
	})
}

// LeftJoinAsOf is JoinAsOf for all records: f gets nil where there was no row. The pointer is valid during the call.
func (s Stream[K, V]) LeftJoinAsOf[V2, R any](
	t Table[K, V2], row AsOf, name string, f func(V, *V2) R,
) Stream[K, R] {
	s.n.needs("LeftJoinAsOf", f == nil)
	return joinAsOf(s, "LeftJoinAsOf", t, row, name, true, ofValues[K](f))
}

func joinAsOf[K, V, V2, R any](
	s Stream[K, V], method string, t Table[K, V2], row AsOf, name string, left bool,
	f func(*topology.Call, K, V, *V2) (R, error),
) Stream[K, R] {
	site, b := caller(), s.n.builder()
	s.n.mustBeByKey(method, site)
	row.check(t.n, site, method)
	view := t.view
	if row.after && t.n.versioned {
		view = viewAfter(t, row, site, method)
	}
	late := op.Waiting{Grace: row.wait().Milliseconds(), RecordsMax: row.recordsMax}
	keys, values := serdesOr(s.keys, s.values)
	st := state.NewKV[[]byte, op.Buffered[V]](name).Values(op.BufferedValues[V]{Values: values})
	n := b.add("join-as-of", "join-as-of-"+name, &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: union([]state.Store{st}, t.reads), ByKey: true,
		ChangesValue: true, Beside: []*topology.Node{t.n.Node},
		Make: op.JoinTableLate(view, st, late, keys, left, f), DelayMillis: late.Grace,
	}, s.n)
	b.own(n, st)
	n.relaxed = left
	n.sameBuilder(t.n, method)
	return Stream[K, R]{n: n, keys: s.keys}
}

// check reports what is wrong with a join of rows as of a time.
func (a AsOf) check(t *node, site, method string) {
	b := t.builder()
	reported := len(b.errs)
	switch {
	case !t.versioned:
		b.fail(site, "%s needs a table that remembers the past, but %s (%s) does not: make it with VersionedTable", method,
			t.op, t.Site)
	case a.grace < 0:
		b.fail(site, "%s: a grace of %v: it must not be negative", method, a.grace)
	case a.max < 0:
		b.fail(site, "%s: a row at most %v later: it must not be negative", method, a.max)
	case a.wait() > t.history && a.after:
		b.fail(site, "%s: a row at most %v later and a grace of %v, but the table remembers only %v", method, a.max,
			a.grace, t.history)
	case a.wait() > t.history:
		b.fail(site, "%s: a grace of %v, but the table remembers only %v", method, a.grace, t.history)
	}
	if a.recordsMax < 0 {
		b.fail(site, "%s: a buffer of %d records: it must not be negative", method, a.recordsMax)
	}
	b.mustBeWhole(reported, site, method, a.max, a.grace)
}

// viewAfter reads the rows that follow a time.
func viewAfter[K, V any](t Table[K, V], row AsOf, site, method string) op.View[K, V] {
	if len(t.n.Stores) == 1 {
		if st, ok := t.n.Stores[0].(state.Versioned[K, V]); ok {
			return op.VersionedViewAfter(st, row.max.Milliseconds())
		}
	}
	t.n.b.fail(site, "%s: AtOrAfter looks into a versioned store, but %s (%s) computes its rows of another table: put "+
		"MaterializeVersioned behind it", method, t.n.op, t.n.Site)
	return t.view
}
