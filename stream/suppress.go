package stream

import (
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Suppression says how long changes of a table are held back. Make one with [UntilTimeLimit] or [UntilWindowCloses].
type Suppression struct {
	name       string
	delay      time.Duration
	closes     bool
	recordsMax int
	bytesMax   int64
	fail       bool
}

// UntilTimeLimit holds each changed row back for d of stream time from its first change on, and tells of its newest
// then. The name is that of the buffer, which is durable. A buffer that is full lets go its oldest rows early.
func UntilTimeLimit(d time.Duration, name string) Suppression {
	return Suppression{delay: d, name: name}
}

// UntilWindowCloses emits each window once, when it is closed. The name is that of the buffer, which is durable. A
// buffer that is full stops the application: a result that is emitted early would not be final. Prefer Emit(OnClose) on
// the aggregation, which needs no buffer, where nothing lies between.
func UntilWindowCloses(name string) Suppression {
	return Suppression{closes: true, name: name, fail: true}
}

// RecordsMax limits how many rows are held back in each task.
func (p Suppression) RecordsMax(n int) Suppression { p.recordsMax = n; return p }

// BytesMax limits how many bytes of keys and rows are held back in each task.
func (p Suppression) BytesMax(n int64) Suppression { p.bytesMax = n; return p }

// StopWhenFull stops the application when the buffer is full, instead of telling of rows early.
func (p Suppression) StopWhenFull() Suppression { p.fail = true; return p }

// Suppress holds changes back.
func (t Table[K, V]) Suppress[S Suppression](suppression S) Table[K, V] {
	site, p := caller(), Suppression(suppression)
	if p.closes {
		t.n.builder().fail(site, "Suppress: only windows close: use UntilTimeLimit")
	}
	keys, values := serdesOr(t.keys, t.values)
	st := state.NewSuppressed[K, op.Buffered[V]](p.name).Keys(keys).Values(op.BufferedValues[V]{Values: values})
	t.n = suppressed(t.n, site, p, 0, op.SuppressConfig[K, V]{
		Store: st, TimeOf: func(_ K, ts int64) int64 { return ts }, Delay: p.delay.Milliseconds(), Deletions: true,
	})
	if t.view != nil {
		t.view, t.reads = op.SuppressedView(t.view, st), union(t.reads, []state.Store{st})
	}
	return t
}

// Suppress holds changes back.
func (t WindowTable[K, V]) Suppress[S Suppression](suppression S) WindowTable[K, V] {
	site, p := caller(), Suppression(suppression)
	keys, values := serdesOr(t.keys, t.values)
	st := state.NewSuppressed[op.Windowed[K], op.Buffered[V]](p.name).
		Keys(op.SpanKeys[K]{Keys: keys, Size: t.size}).Values(op.BufferedValues[V]{Values: values})
	c := op.SuppressConfig[op.Windowed[K], V]{
		Store: st, TimeOf: func(_ op.Windowed[K], ts int64) int64 { return ts }, Delay: p.delay.Milliseconds(),
		Deletions: true,
	}
	size := int64(0) // by how much a row's time may be before what its delay counts from
	if p.closes {
		size = max(t.size, 0)
		if t.grace < 0 {
			t.n.builder().fail(site, "Suppress: an unlimited window never closes: use UntilTimeLimit")
		}
		c.TimeOf = func(w op.Windowed[K], _ int64) int64 { return w.Span.End }
		c.Delay, c.Deletions = t.grace.Milliseconds(), false
	}
	t.n = suppressed(t.n, site, p, size, c)
	if t.view != nil {
		t.view, t.reads = op.SuppressedView(t.view, st), union(t.reads, []state.Store{st})
	}
	return t
}

func suppressed[K, V any](
	parent *node, site string, p Suppression, held int64, c op.SuppressConfig[K, V],
) *node {
	n, b := &node{}, parent.builder()
	reported := len(b.errs)
	switch {
	case parent.versioned:
		b.fail(site, "Suppress: a versioned table can't be held back")
	case p.delay < 0:
		b.fail(site, "Suppress: a limit of %v: it must not be negative", p.delay)
	case p.recordsMax < 0 || p.bytesMax < 0:
		b.fail(site, "Suppress: a buffer of %d rows, %d bytes: it must not be negative", p.recordsMax, p.bytesMax)
	}
	b.mustBeWhole(reported, site, "Suppress", p.delay)
	c.RecordsMax, c.BytesMax, c.EmitEarly, c.Old = p.recordsMax, p.bytesMax, !p.fail, &n.old
	parent.needOld()
	b.put(n, "suppress", "suppress-"+p.name, &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{c.Store}, ByKey: true, Make: op.Suppress(c),
		DelayMillis: c.Delay + held,
	}, parent)
	b.own(n, c.Store)
	return n
}

// serdesOr are the serdes, or those of the types where there are none.
func serdesOr[K, V any](keys serde.Serde[K], values serde.Serde[V]) (serde.Serde[K], serde.Serde[V]) {
	if keys == nil {
		keys = serde.ForTopic[K]()
	}
	if values == nil {
		values = serde.ForTopic[V]()
	}
	return keys, values
}
