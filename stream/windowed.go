package stream

import (
	"math"
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// ReasonHeader is the header of records that were left out: see [WindowedGroup.Late].
const ReasonHeader = op.ReasonHeader

// WindowedGroup is a grouped stream cut into windows.
type WindowedGroup[K, V any] struct {
	s     Stream[K, V]
	w     Window
	emit  Emit
	quiet time.Duration
	late  *tap
}

// Windowed cuts the groups into windows.
func (g Grouped[K, V]) Windowed[W Window](w W) WindowedGroup[K, V] {
	Window(w).check(g.s.n.builder(), caller())
	return WindowedGroup[K, V]{s: g.s, w: Window(w), emit: g.emit, late: &tap{}}
}

// Emit says when results are emitted; otherwise as [Builder.Emit] does.
func (g WindowedGroup[K, V]) Emit[E Emit](e E) WindowedGroup[K, V] { g.emit = Emit(e); return g }

// CloseWhenIdle closes windows although nothing comes in: once no record has come for quiet, or at most twice as long,
// time goes on with the clock. It needs Emit(OnClose). The price: a source that was only slow finds its windows closed.
//
// Only time counts in which the input is known to be read to its end. While the broker is away, or the process stands
// still, time stands still, too; the wait begins again after that.
func (g WindowedGroup[K, V]) CloseWhenIdle[D time.Duration](quiet D) WindowedGroup[K, V] {
	g.quiet = time.Duration(quiet)
	return g
}

// Late is the stream of the records that are left out of the aggregation that the group is used for: those that came
// too late for every window they belong to, and those without a key or a value that it needs. The header
// [ReasonHeader] says why: "late", "null-key", "null-value", or "expired" where the store has given all its windows up.
func (g WindowedGroup[K, V]) Late[S Stream[K, V]]() Stream[K, V] { return late(g.s, g.late) }

// tap is where the records that an aggregation leaves out as too late come out. It may be asked for before or after
// the aggregation is made.
type tap struct{ group, from, to *node }

func late[K, V any](s Stream[K, V], t *tap) Stream[K, V] {
	b := s.n.builder()
	if t.to == nil {
		t.group, t.to = s.n, &node{}
		t.to.under = s.n
		b.put(t.to, "late", "", &topology.Node{
			Kind: topology.KindProcessor, Site: caller(), Make: op.Pass[K, V](), ByKey: true,
		})
		b.taps = append(b.taps, t)
		t.join()
	}
	return Stream[K, V]{t.to, s.keys, s.values}
}

func (t *tap) join() {
	if t.from != nil && t.to != nil {
		t.from.Connect(t.to.Node)
	}
}

// mustBeUsed refuses the late records of a group of which nothing is made. The node hangs on the group then, so that
// no other check reports the same mistake again.
func (t *tap) mustBeUsed(b *Builder) {
	if t.from == nil {
		b.fail(t.to.Site, "Late: nothing is aggregated from this group, so no record is late: call Count, Reduce or "+
			"Aggregate on it, or leave Late out")
		t.use(t.group)
	}
}

// use makes the node the one whose late records come out; of several aggregations of one group it is the first.
func (t *tap) use(n *node) {
	if t.from == nil {
		t.from = n
		t.join()
	}
}

// Count counts the records of each key and window, those with null values too.
func (g WindowedGroup[K, V]) Count[S state.Windowed[K, int64]](st S) WindowTable[K, int64] {
	return windowed(g, "count", state.Windowed[K, int64](st), op.CountFold[K, V](), true)
}

// Reduce combines the values of each key and window. The first is taken as it is; a nil result deletes the row.
func (g WindowedGroup[K, V]) Reduce[S state.Windowed[K, V]](st S, f func(V, V) V) WindowTable[K, V] {
	g.s.n.needs("Reduce", f == nil)
	return windowed(g, "reduce", state.Windowed[K, V](st), op.ReduceFold(ofValues[K](f)), serde.IsNilable[V]())
}

// Aggregate adds the records of each key and window to what initial returned. A nil result deletes the row.
func (g WindowedGroup[K, V]) Aggregate[A any](
	st state.Windowed[K, A], initial func() A, add func(K, V, A) A,
) WindowTable[K, A] {
	g.s.n.needs("Aggregate", initial == nil, add == nil)
	return windowed(g, "aggregate", st, op.AggregateFold(initial, ofThree(add)), serde.IsNilable[V]())
}

// windowOutput is where an aggregation of windows, sliding windows or sessions emits: the policy, checked.
type windowOutput struct {
	b     *Builder
	site  string
	emit  Emit
	quiet time.Duration
}

func (o windowOutput) closing(n *node) op.Closing {
	o.emit.mustBeKnown(o.b, o.site, "Emit")
	reported := len(o.b.errs)
	if o.quiet != 0 && o.emit != OnClose {
		o.b.fail(o.site, "CloseWhenIdle needs Emit(stream.OnClose): otherwise there is nothing to close")
	}
	if o.quiet < 0 || o.quiet > 0 && o.quiet < time.Millisecond {
		o.b.fail(o.site, "CloseWhenIdle: %v: a millisecond is the least", o.quiet)
	}
	o.b.mustBeWhole(reported, o.site, "CloseWhenIdle", o.quiet)
	return op.Closing{
		Rows: n.rows(o.emit), OnClose: o.emit == OnClose, Quiet: o.quiet.Milliseconds(),
	}
}

// retention is how long a store must keep rows that are emitted until they are closed. Parts of milliseconds are
// refused where they were asked for, and not once more here.
func retention(b *Builder, site, store string, asked, needed time.Duration) time.Duration {
	needed = needed.Truncate(time.Millisecond)
	if asked != 0 && asked < needed {
		b.fail(site, "store %q keeps %v, but windows are open for %v (size and grace): keep as much at least, or leave "+
			"Retain out", store, asked, needed)
	}
	return max(asked, needed)
}

func windowed[K, V, A any](
	g WindowedGroup[K, V], method string, st state.Windowed[K, A], fold op.Fold[K, V, A], takesNull bool,
) WindowTable[K, A] {
	n, site := &node{}, caller()
	b := g.s.n.builder()
	if g.emit == OnClose && g.w.kind == unlimited {
		b.fail(site, "%s: an unlimited window never closes: emit OnCommit or OnUpdate", methodOf(method))
	}
	keep, st := g.w.keep(b, site, st.Inherit(g.s.keys, inherited(method, g.s.values)))
	closing := windowOutput{b, site, g.emit, g.quiet}.closing(n)
	c := op.WindowConfig[K, V, A]{
		Windows: g.w.spec(), Store: st, Retention: keep.Milliseconds(), Fold: fold, TakesNull: takesNull,
		Closing: closing,
	}
	b.put(n, "window-"+method, "window-"+method+"-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, Make: windowMake(g.w, c),
		Facts: g.w.facts(st.Name()), DelayMillis: heldFor(closing, g.w.size, g.w.grace),
	}, g.s.n)
	b.own(n, st)
	g.late.use(n)
	return windowTable(n, st, g.w)
}

// heldFor is how long windows that are emitted when they close are held back, in milliseconds.
func heldFor(c op.Closing, spans ...time.Duration) int64 {
	if !c.OnClose {
		return 0
	}
	return sum(spans...).Milliseconds()
}

// windowMake is the operator of the kind of window.
func windowMake[K, V, A any](w Window, c op.WindowConfig[K, V, A]) topology.Make {
	if w.kind == sliding {
		return op.AggregateSliding(c)
	}
	return op.AggregateWindows(c)
}

// keep names the store with what the windows need of it.
func (w Window) keep[K, A any](b *Builder, site string, st state.Windowed[K, A]) (time.Duration, state.Windowed[K, A]) {
	if w.kind == unlimited {
		return 0, st
	}
	needed := sum(w.sizeMax(), w.grace)
	if w.kind == sliding { // a window's left neighbour is read, too
		needed = sum(needed, w.size)
	}
	keep := retention(b, site, st.Name(), st.Spec().Retention, needed)
	if st = st.Retain(keep); !w.variable() {
		st = st.Size(w.size)
	}
	return keep, st
}

func windowTable[K, A any](n *node, st state.Windowed[K, A], w Window) WindowTable[K, A] {
	t := WindowTable[K, A]{
		n: n, view: op.WindowView(st), reads: []state.Store{st}, keys: st.KeySerde(), values: st.ValueSerde(),
		grace: w.grace, size: w.size.Milliseconds(),
	}
	switch {
	case w.kind == unlimited:
		t.grace, t.size = -1, math.MaxInt64
	case w.variable():
		t.size = -1
	}
	return t
}
