package stream

import (
	"time"

	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// RecordsMax limits how many records wait at the same time in each task.
type RecordsMax int

// JoinAsOf is JoinTable with a versioned table that may be behind the stream: records wait until the stream is grace
// further, and meet the row of their time. Records that come later than that are joined at once. The name is that of
// the buffer, which is durable; it holds what comes within the grace, or at most a RecordsMax. One that is full stops
// the application: a record joined too soon would meet another row.
func (s Stream[K, V]) JoinAsOf[V2, R any](
	t Table[K, V2], grace time.Duration, name string, f func(V, V2) R, most ...RecordsMax,
) Stream[K, R] {
	s.n.needs("JoinAsOf", f == nil)
	return joinAsOf(s, "JoinAsOf", t, grace, name, most, false, func(_ *topology.Call, _ K, v V, o *V2) (R, error) {
		return f(v, *o), nil
	})
}

// LeftJoinAsOf is JoinAsOf for all records: f gets nil where there was no row. The pointer is valid during the call.
func (s Stream[K, V]) LeftJoinAsOf[V2, R any](
	t Table[K, V2], grace time.Duration, name string, f func(V, *V2) R, most ...RecordsMax,
) Stream[K, R] {
	s.n.needs("LeftJoinAsOf", f == nil)
	return joinAsOf(s, "LeftJoinAsOf", t, grace, name, most, true, ofValues[K](f))
}

func joinAsOf[K, V, V2, R any](
	s Stream[K, V], method string, t Table[K, V2], grace time.Duration, name string, most []RecordsMax, left bool,
	f func(*topology.Call, K, V, *V2) (R, error),
) Stream[K, R] {
	site, b := caller(), s.n.builder()
	s.n.mustBeByKey(method, site)
	switch {
	case !t.n.versioned:
		b.fail(site, "%s needs a table that remembers the past, but %s (%s) does not: make it with VersionedTable", method,
			t.n.op, t.n.Site)
	case grace < 0:
		b.fail(site, "%s: a grace of %v: it must not be negative", method, grace)
	case grace > t.n.history:
		b.fail(site, "%s: a grace of %v, but the table remembers only %v", method, grace, t.n.history)
	}
	late := op.Waiting{Grace: grace.Milliseconds()}
	for _, n := range most {
		if late.RecordsMax = int(n); n < 1 {
			b.fail(site, "%s: a buffer of %d records: it takes one or more", method, n)
		}
	}
	keys, values := serdesOr(s.keys, s.values)
	st := state.NewKV[[]byte, op.Buffered[V]](name).Values(op.BufferedValues[V]{Values: values})
	n := b.add("join-as-of", "join-as-of-"+name, &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: union([]state.Store{st}, t.reads), ByKey: true,
		ChangesValue: true, Beside: []*topology.Node{t.n.Node},
		Make: op.JoinTableLate(t.view, st, late, keys, left, f),
	}, s.n)
	b.own(n, st)
	n.relaxed = left
	n.sameBuilder(t.n, method)
	return Stream[K, R]{n: n, keys: s.keys}
}
