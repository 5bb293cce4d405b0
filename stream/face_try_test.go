package stream_test

import (
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

type (
	seen     = stream.Call
	customer struct{ Name string }
)

// All full functions in one program: it compiles, every type is inferred, and it builds. Like TestTheWholeFaceBuilds it
// is a probe of the composite law.
func TestTheFaceOfTryBuilds(t *testing.T) {
	b := stream.NewBuilder()
	orders := stream.NewTopic[string, order]("orders").Values(serde.JSON[order]())
	customers := b.Table(stream.NewTopic[string, customer]("customers"), state.NewKV[string, customer]("customers"))
	s := b.Stream(orders)
	byCustomer := func(_ *seen, _ string, o order) (string, error) { return o.Customer, nil }
	add := func(_ *seen, k string, o order, a totals) (totals, error) { return a.add(k, o), nil }
	merge := func(_ *seen, _ string, a, b totals) (totals, error) { return totals{Count: a.Count + b.Count}, nil }
	last := func(_ *seen, _ string, _, o order) (order, error) { return o, nil }
	larger := func(_ *seen, _ string, a, b order) (int, error) { return int(b.Amount - a.Amount), nil }
	zero := func() totals { return totals{} }

	// streams
	keep := func(_ *seen, _ string, o order) (bool, error) { return o.Amount > 0, nil }
	s = s.Try().Filter(keep).Try().FilterNot(keep).Try().Peek(func(*seen, string, order) error { return nil })
	s.Try().ForEach(func(*seen, string, order) error { return nil })
	s.Try().Map(func(_ *seen, k string, o order) (int64, string, error) { return int64(o.Amount), k, nil })
	s.Try().MapValues(func(_ *seen, _ string, o order) (float64, error) { return o.Amount, nil })
	s.Try().FlatMap(func(*seen, string, order) (iter.Seq2[int64, string], error) { return nil, nil })
	s.Try().FlatMapValues(func(*seen, string, order) (iter.Seq[string], error) { return nil, nil })
	s.Try().ToDynamic(func(_ *seen, k string, _ order) (string, error) { return k, nil }).Named("dynamic")
	require.Len(t, s.Try().Split(keep, keep), 3)
	mine := s.Try().SelectKey(byCustomer).Repartition("by-customer")
	mine.Try().Deduplicate(stream.DuplicatesWithin(time.Second), "seen", byCustomer)
	mine.Try().Batch(10, time.Second, "batches", func(_ *seen, _ string, os []order) (int, error) { return len(os), nil })

	// joins of streams
	others := mine.MapValues(func(o order) float64 { return o.Amount })
	within := stream.Around(time.Minute, time.Second)
	mine.Try().Join(others, within, "join",
		func(_ *seen, _ string, o order, f float64) (bool, error) { return o.Amount == f, nil })
	mine.Try().LeftJoin(others, within, "left-join",
		func(_ *seen, _ string, o order, f *float64) (bool, error) { return f != nil, nil })
	mine.Try().OuterJoin(others, within, "outer-join",
		func(_ *seen, _ string, o *order, f *float64) (bool, error) { return o != nil && f != nil, nil })
	enrich := func(_ *seen, _ string, o order, c customer) (enriched, error) { return enriched{o, c.Name, false}, nil }
	mayEnrich := func(_ *seen, _ string, o order, c *customer) (enriched, error) { return enriched{Order: o}, nil }
	named := func(_ *seen, _ string, o order) (string, bool, error) { return o.Customer, true, nil }
	mine.Try().JoinTable(customers, enrich)
	mine.Try().LeftJoinTable(customers, mayEnrich)
	history := mine.MapValues(func(o order) customer { return customer{o.Customer} }).
		ToVersionedTable(state.NewVersioned[string, customer]("history", time.Hour))
	mine.Try().JoinAsOf(history, stream.AtOrBefore(time.Second), "as-of", enrich)
	mine.Try().LeftJoinAsOf(history, stream.AtOrBefore(time.Second), "left-as-of", mayEnrich)
	everyone := b.GlobalTable(stream.NewTopic[string, customer]("everyone"), state.NewKV[string, customer]("everyone"))
	s.Try().JoinGlobal(everyone, named, enrich)
	s.Try().LeftJoinGlobal(everyone, named, mayEnrich)

	// groups
	g := s.Try().GroupBy("groups", byCustomer)
	g.Try().Reduce(state.NewKV[string, order]("last"), last)
	g.Try().Top(state.NewKV[string, []order]("top"), 3, larger)
	table := g.Try().Aggregate(state.NewKV[string, totals]("totals"), zero, add)
	co := g.Try().Cogroup(add).Try().With(mine.GroupByKey(), add)
	co.Aggregate(state.NewKV[string, totals]("cogroup"), zero)
	co.Sessions(stream.SessionGap(time.Minute, 0)).Try().
		Aggregate(state.NewSession[string, totals]("session-cogroup"), zero, merge)
	sessions := g.Sessions(stream.SessionGap(time.Minute, 0))
	sessions.Try().Reduce(state.NewSession[string, order]("session-last"), last)
	sessions.Try().Aggregate(state.NewSession[string, totals]("session-totals"), zero, add, merge)
	windows := g.Windowed(stream.Tumbling(time.Minute, 0))
	windows.Try().Reduce(state.NewWindowed[string, order]("window-last"), last)
	windows.Try().Top(state.NewWindowed[string, []order]("window-top"), 3, larger)
	perMinute := windows.Try().Aggregate(state.NewWindowed[string, totals]("window-totals"), zero, add)

	tryTables(customers, table)
	tryWindows(perMinute)
	_, err := b.Build()
	require.NoError(t, err)
}

func tryTables(customers stream.Table[string, customer], table stream.Table[string, totals]) {
	many := func(_ *seen, _ string, a totals) (bool, error) { return a.Count > 1, nil }
	table.Try().Filter(many).Try().FilterNot(many)
	sums := table.Try().MapValues(func(_ *seen, _ string, a totals) (float64, error) { return a.Sum, nil })
	table.Try().TransformValues(func(_ *seen, _ string, a *totals) (bool, error) { return a == nil, nil })
	table.Try().Join(sums, func(_ *seen, _ string, a totals, f float64) (float64, error) { return a.Sum - f, nil })
	table.Try().LeftJoin(sums, func(_ *seen, _ string, a totals, f *float64) (bool, error) { return f == nil, nil })
	table.Try().OuterJoin(sums, func(_ *seen, _ string, a *totals, f *float64) (bool, error) { return f == nil, nil })
	key := func(_ *seen, k string, _ totals) (string, bool, error) { return k, true, nil }
	table.Try().JoinForeign(customers, key, "foreign",
		func(_ *seen, _ string, a totals, c customer) (string, error) { return c.Name, nil })
	table.Try().LeftJoinForeign(customers, key, "left-foreign",
		func(_ *seen, _ string, a totals, c *customer) (bool, error) { return c == nil, nil })
	groups := table.Try().GroupBy("table-groups",
		func(_ *seen, _ string, a totals) (int64, float64, error) { return int64(a.Count), a.Sum, nil })
	take := func(_ *seen, _ int64, v, sum float64) (float64, error) { return sum + v, nil }
	groups.Try().Reduce(state.NewKV[int64, float64]("table-sum"), take, take)
	groups.Try().Aggregate(state.NewKV[int64, float64]("table-total"), func() float64 { return 0 }, take, take)
	groups.Try().Top(state.NewKV[int64, []float64]("table-top"), 3,
		func(_ *seen, _ int64, a, b float64) (int, error) { return int(a - b), nil })
}

func tryWindows(windows stream.WindowTable[string, totals]) {
	many := func(_ *seen, _ string, _ stream.Span, a totals) (bool, error) { return a.Count > 1, nil }
	windows = windows.Try().Filter(many).Try().FilterNot(many)
	sums := windows.Try().MapValues(func(_ *seen, _ string, _ stream.Span, a totals) (float64, error) {
		return a.Sum, nil
	})
	windows.Try().Join(sums,
		func(_ *seen, _ string, _ stream.Span, a totals, f float64) (float64, error) { return a.Sum - f, nil })
	windows.Try().LeftJoin(sums,
		func(_ *seen, _ string, _ stream.Span, a totals, f *float64) (bool, error) { return f == nil, nil })
	windows.Try().OuterJoin(sums,
		func(_ *seen, _ string, _ stream.Span, a *totals, f *float64) (bool, error) { return f == nil, nil })
	windows.Try().GroupBy("window-groups", func(_ *seen, k string, w stream.Span, a totals) (int64, string, error) {
		return w.Start, k, nil
	})
	windows.Try().ToStream(func(_ *seen, k string, w stream.Span) (int64, error) { return w.Start, nil })
}
