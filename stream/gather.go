package stream

import (
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Duplicates says which records of an id are duplicates of another. Make one with [DuplicatesWithin].
type Duplicates struct {
	within  time.Duration
	extends bool
}

// DuplicatesWithin are the records whose times are no more than d away from the first one's, before it or after it.
func DuplicatesWithin(d time.Duration) Duplicates { return Duplicates{within: d} }

// Extend makes each duplicate begin the interval again: a record goes through when its id has not come for as long.
// Each duplicate then has a place in the buffer, as the first record has.
func (d Duplicates) Extend() Duplicates { d.extends = true; return d }

// Deduplicate lets the first record of each key and id through, and leaves out its duplicates, counted. The id is what
// the function makes of key and value. A nil id is none: its record goes through. Records without a key are dropped,
// counted, and so are those with a null value that id would not see. The name is that of the buffer of ids, which is
// durable.
//
// The trade-off: all ids of twice the interval are kept. What comes more than the interval behind the newest record
// goes through unseen: nothing is lost, but it may be a duplicate.
func (s Stream[K, V]) Deduplicate[ID any](d Duplicates, name string, id func(K, V) ID) Stream[K, V] {
	s.n.needs("Deduplicate", id == nil)
	return deduplicate(s, d, name, ofTwo(id))
}

func deduplicate[K, V, ID any](
	s Stream[K, V], d Duplicates, name string, id func(*topology.Call, K, V) (ID, error),
) Stream[K, V] {
	site, b := caller(), s.n.builder()
	s.n.mustBeByKey("Deduplicate", site)
	reported := len(b.errs)
	if d.within < 0 {
		b.fail(site, "Deduplicate: within %v: it must not be negative", d.within)
	}
	b.mustBeWhole(reported, site, "Deduplicate", d.within)
	keys, _ := serdesOr(s.keys, s.values)
	ids := serde.ForTopic[ID]()
	st := state.NewBuffer[op.Pair[K, ID], bool](name).Keys(op.PairKeys[K, ID]{Keys: keys, Within: ids}).
		Retain(sum(d.within, d.within, time.Millisecond))
	n := b.add("deduplicate", "deduplicate-"+name, &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true,
		Make: op.Deduplicate(st, id, d.within.Milliseconds(), d.extends),
	}, s.n)
	b.own(n, st)
	return Stream[K, V]{n, s.keys, s.values}
}

// Batch gathers the records of each key and makes one of them when there are count, or when the first has waited for
// about every by the wall clock; with 0 only the count matters. Its time is the latest of theirs. The slice is f's own.
// The name is that of the store of what waits, which is durable. Records without key or value are dropped and counted.
//
// The trade-off: the keys of open batches are in memory, though not their records, and which records are in a batch
// depends on the clock, unless every is 0.
func (s Stream[K, V]) Batch[V2 any](count int, every time.Duration, name string, f func(K, []V) V2) Stream[K, V2] {
	s.n.needs("Batch", f == nil)
	return batch(s, count, every, name, ofTwo(f))
}

func batch[K, V, V2 any](
	s Stream[K, V], count int, every time.Duration, name string, f func(*topology.Call, K, []V) (V2, error),
) Stream[K, V2] {
	site, b := caller(), s.n.builder()
	s.n.mustBeByKey("Batch", site)
	reported := len(b.errs)
	switch {
	case count < 1 || count > batchMax:
		b.fail(site, "Batch: %d records: it takes 1 to %d", count, batchMax)
	case every < 0 || every > 0 && every < time.Millisecond:
		b.fail(site, "Batch: every %v: a millisecond is the least, 0 is never", every)
	}
	b.mustBeWhole(reported, site, "Batch", every)
	keys, values := serdesOr(s.keys, s.values)
	st := state.NewKV[op.Pair[K, int32], V](name).Values(values).
		Keys(op.PairKeys[K, int32]{Keys: keys, Within: serde.For[int32]()})
	n := b.add("batch", "batch-"+name, &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, ByKey: true, ChangesValue: true,
		Make: op.Batch(op.BatchConfig[K, V, V2]{Store: st, Count: count, Every: every.Milliseconds(), F: f}),
	}, s.n)
	b.own(n, st)
	return Stream[K, V2]{n: n, keys: s.keys}
}

// batchMax is the most records of a batch.
const batchMax = 1_000_000

// Top keeps the first n values of each key in the order of compare, as [slices.SortFunc] would have them; of equal ones
// those that came first. The row is the list of them.
//
// The trade-off: a row is written as a whole, so n should be small. What fell out of the list is forgotten.
func (g Grouped[K, V]) Top[A ~[]V](st state.KV[K, A], n int, compare func(a, b V) int) Table[K, A] {
	g.s.n.needs("Top", compare == nil)
	mustKeepSome(g.s.n.b, n)
	return aggregate(g, "top", st, op.TopFold[K, V, A](n, ofValues[K](compare)))
}

// Top keeps the first n values of each key and window in the order of compare: see [Grouped.Top].
func (g WindowedGroup[K, V]) Top[A ~[]V](
	st state.Windowed[K, A], n int, compare func(a, b V) int,
) WindowTable[K, A] {
	g.s.n.needs("Top", compare == nil)
	mustKeepSome(g.s.n.b, n)
	return windowed(g, "top", st, op.TopFold[K, V, A](n, ofValues[K](compare)), serde.IsNilable[V]())
}

// Top keeps the first rows of each group in the order of compare, of equal ones those that came first, and follows the
// table: a row that changes or goes makes room for the next. A group without rows has none.
//
// The trade-off: the store keeps all rows of each group, in one list that is written as a whole, so that groups should
// be small. It is only the table that has the first n.
func (g GroupedTable[K, V]) Top[A ~[]V](st state.KV[K, A], n int, compare func(a, b V) int) Table[K, A] {
	g.n.needs("Top", compare == nil)
	return topOfTable(g, st, n, ofValues[K](compare))
}

func topOfTable[K, V any, A ~[]V](
	g GroupedTable[K, V], st state.KV[K, A], count int, compare func(*topology.Call, K, V, V) (int, error),
) Table[K, A] {
	n := &node{}
	mustKeepSome(g.n.builder(), count)
	st = st.Inherit(g.keys, nil)
	t := groupedTable(n, g, "top", st, op.TopOfTable(st, g.values, count, compare, n.rows(g.emit)))
	t.view = op.MapView(t.view, func(_ *topology.Call, _ K, rows A) (A, error) { return op.FirstOf(rows, count), nil })
	return t
}

func mustKeepSome(b *Builder, n int) {
	if n < 1 || n > topMax {
		b.fail(caller(), "Top: the first %d: it takes 1 to %d", n, topMax)
	}
}

// topMax is the most values that a row of Top lists.
const topMax = 10_000
