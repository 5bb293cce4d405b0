package stream

import (
	"time"

	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Within says how far apart records of two streams may be to meet. Make one with [Around].
type Within struct {
	before, after, grace time.Duration
	recordsMax           int
	byLeft, byRight      any // *op.Bounds of that side's values; nil: none
}

// Around lets records meet that are no more than d apart, whichever comes first. Grace is how much later than the end
// of its window a record may still come; only then records that met nothing are emitted.
func Around(d, grace time.Duration) Within { return Within{before: d, after: d, grace: grace} }

// Before sets how far before the left record the right one may be. It may be negative, as long as something remains.
func (w Within) Before(d time.Duration) Within { w.before = d; return w }

// After sets how far after the left record the right one may be. It may be negative, as long as something remains.
func (w Within) After(d time.Duration) Within { w.after = d; return w }

// RecordsMax limits how many records each side keeps in each task; otherwise it is what comes within the window and
// grace. Records for which the memory of stores has no room are on disk. A side that is full stops the application:
// without a record results would be missing.
func (w Within) RecordsMax(n int) Within { w.recordsMax = n; return w }

// Join joins records of equal keys that are not further apart than said. The name is that of the buffers, which are
// durable. Records without key or value are dropped and counted.
func (s Stream[K, V]) Join[V2, R any](o Stream[K, V2], w Within, name string, f func(V, V2) R) Stream[K, R] {
	s.n.needs("Join", f == nil)
	return joinStreams(s, "Join", o, w, name, inner, func(_ *topology.Call, _ K, v *V, o *V2) (R, error) {
		return f(*v, *o), nil
	})
}

// LeftJoin is Join, and tells of records of this stream that met nothing, once nothing can come any more: f gets nil.
// Pointers are valid during the call. A record without a key meets nothing at once.
func (s Stream[K, V]) LeftJoin[V2, R any](o Stream[K, V2], w Within, name string, f func(V, *V2) R) Stream[K, R] {
	s.n.needs("LeftJoin", f == nil)
	return joinStreams(s, "LeftJoin", o, w, name, leftOuter, func(_ *topology.Call, _ K, v *V, o *V2) (R, error) {
		return f(*v, o), nil
	})
}

// OuterJoin is Join, and tells of records of both streams that met nothing, once nothing can come any more: f gets nil
// for the other. Pointers are valid during the call. A record without a key meets nothing at once.
func (s Stream[K, V]) OuterJoin[V2, R any](o Stream[K, V2], w Within, name string, f func(*V, *V2) R) Stream[K, R] {
	s.n.needs("OuterJoin", f == nil)
	return joinStreams(s, "OuterJoin", o, w, name, outer, ofValues[K](f))
}

// joinKind says of which sides records that met nothing are emitted.
type joinKind uint8

const (
	inner joinKind = iota
	leftOuter
	outer
)

func (w Within) check(b *Builder, site, method string) {
	reported := len(b.errs)
	if sum(w.before, w.after) < 0 {
		b.fail(site, "%s: from %v before to %v after: nothing is in between", method, w.before, w.after)
	}
	if w.recordsMax < 0 {
		b.fail(site, "%s: a buffer of %d records: it must not be negative", method, w.recordsMax)
	}
	if w.grace < 0 {
		b.fail(site, "%s: a grace of %v: it must not be negative", method, w.grace)
	}
	b.mustBeWhole(reported, site, method, w.before, w.after, w.grace)
}

func joinStreams[K, V, V2, R any](
	s Stream[K, V], method string, o Stream[K, V2], w Within, name string, kind joinKind,
	f func(*topology.Call, K, *V, *V2) (R, error),
) Stream[K, R] {
	site, b := caller(), s.n.builder()
	s.n.mustBeByKey(method, site)
	o.n.mustBeByKey(method, site)
	w.check(b, site, method)
	name = b.durableName(site, method, name)
	byLeft, fits := w.byLeft.(*op.Bounds[V])
	mustBound(b, site, method, "BoundedByLeft", w.byLeft, fits, (*V)(nil))
	byRight, fits := w.byRight.(*op.Bounds[V2])
	mustBound(b, site, method, "BoundedByRight", w.byRight, fits, (*V2)(nil))
	j := op.StreamJoin[K, V, V2, R]{
		Before: w.before.Milliseconds(), After: w.after.Milliseconds(), Grace: w.grace.Milliseconds(),
		KeepLeft: kind != inner, KeepRight: kind == outer, RecordsMax: w.recordsMax, F: f,
		LeftBounds: byLeft, RightBounds: byRight,
	}
	stores := joinBuffers(&j, s, o, w, name, kind)
	held := int64(0)
	if kind != inner {
		held = max(j.Before, j.After, 0) + j.Grace
	}
	n := &node{}
	left := b.addPart(n, "left", "join-"+name+"-left", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Make: op.JoinLeft(j), Stores: stores, ByKey: true, ChangesValue: true,
		DelayMillis: held,
	}, s.n)
	right := b.addPart(n, "right", "join-"+name+"-right", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Make: op.JoinRight(j), Stores: stores, ByKey: true, ChangesValue: true,
		DelayMillis: held,
	}, o.n)
	if kind == inner {
		left.Twin, right.Twin = right.Node, left.Node
	}
	left.relaxed, right.relaxed = kind != inner, kind != inner
	b.put(n, "join-streams", "join-"+name, &topology.Node{
		Kind: topology.KindProcessor, Site: site, Make: op.Pass[K, R](), ByKey: true,
	}, left, right)
	left.op, right.op, n.op = method, method, method
	for _, st := range stores {
		b.own(left, st)
	}
	return Stream[K, R]{n: n, keys: s.keys}
}

// joinBuffers names the stores of a join as Kafka Streams does.
func joinBuffers[K, V, V2, R any](
	j *op.StreamJoin[K, V, V2, R], s Stream[K, V], o Stream[K, V2], w Within, name string, kind joinKind,
) []state.Store {
	keys, values := serdesOr(s.keys, s.values)
	_, others := serdesOr(o.keys, o.values)
	// Parts of milliseconds are refused by the window's own checks. 0 would be forever.
	keep := max(sum(w.before, w.after, w.grace).Truncate(time.Millisecond), time.Millisecond)
	this, other, held := "-this", "-other", ""
	switch kind {
	case leftOuter:
		other, held = "-outer-other", "-left-shared"
	case outer:
		this, other, held = "-outer-this", "-outer-other", "-outer-shared"
	}
	j.Left = state.NewBuffer[K, V](name + this + "-join-store").Keys(keys).Values(values).Retain(keep)
	j.Right = state.NewBuffer[K, V2](name + other + "-join-store").Keys(keys).Values(others).Retain(keep)
	if kind == inner {
		return []state.Store{j.Left, j.Right}
	}
	j.Unmatched = state.NewUnmatched[op.UnmatchedKey[K], op.Unmatched[V, V2]](name + held + "-join-store").
		Keys(op.UnmatchedKeys[K]{Keys: keys}).Values(op.UnmatchedValues[V, V2]{Left: values, Right: others}).
		Retain(sum(keep, max(w.before, w.after)))
	return []state.Store{j.Left, j.Right, j.Unmatched}
}
