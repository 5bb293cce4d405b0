package stream_test

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

type order struct {
	Customer string
	Amount   float64
}

type payment struct{ Order string }

type totals struct {
	Count    int
	Sum, Max float64
}

type enriched struct {
	Order order
	Name  string
	Paid  bool
}

func (t totals) add(_ string, o order) totals {
	return totals{t.Count + 1, t.Sum + o.Amount, max(t.Max, o.Amount)}
}

// A program over the whole face: it compiles, every type is inferred, and it builds. It is the probe of the composite
// law, too: what would make the compiler instantiate types without end does not compile here.
func TestTheWholeFaceBuilds(t *testing.T) {
	orders := stream.NewTopic[string, order]("orders").Values(serde.JSON[order]())
	joined := stream.NewTopic[string, enriched]("enriched")
	windows := stream.NewTopic[stream.WindowedKey[string], int64]("windows")
	add := func(k string, o order, a totals) totals { return a.add(k, o) }
	zero := func() totals { return totals{} }

	b := stream.NewBuilder()
	s := b.Stream(orders)
	customers := b.Table(in, state.NewKV[string, string]("customers"))
	mine := s.SelectKey(func(_ string, o order) string { return o.Customer }).Repartition("by-customer")
	mine.JoinTable(customers, func(o order, name string) enriched { return enriched{Order: o, Name: name} }).To(joined)
	mine.GroupByKey().Aggregate(state.NewKV[string, totals]("totals"), zero, add).
		Join(customers, func(t totals, name string) string { return fmt.Sprint(name, t.Sum) }).ToStream().To(out)
	mine.GroupByKey().Windowed(stream.Tumbling(time.Minute, 10*time.Second)).Emit(stream.OnClose).
		CloseWhenIdle(time.Second).Count(state.NewWindowed[string, int64]("per-minute")).
		ToStream(stream.WindowKey).To(windows)
	mine.GroupByKey().Sessions(stream.SessionGap(time.Minute, 0)).
		Aggregate(state.NewSession[string, totals]("sessions"), zero, add,
			func(_ string, a, b totals) totals { a.Count += b.Count; return a }).
		ToStream(func(k string, w stream.Span) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		Filter(func(_ string, t totals) bool { return t.Count > 3 })
	payments := stream.NewTopic[string, payment]("payments")
	s.LeftJoin(b.Stream(payments), stream.Around(time.Hour, time.Minute), "paid",
		func(o order, p *payment) enriched { return enriched{Order: o, Paid: p != nil} }).To(joined)
	mine.GroupByKey().Cogroup(add).
		With(b.Stream(payments).GroupBy("pay", func(_ string, p payment) string { return p.Order }),
			func(_ string, _ payment, t totals) totals { t.Sum--; return t }).
		Aggregate(state.NewKV[string, totals]("cogroup"), zero)
	table := b.Table(orders, state.NewKV[string, order]("order-table"))
	table.JoinForeign(customers, func(_ string, o order) (string, bool) { return o.Customer, true }, "order-customer",
		func(o order, name string) enriched { return enriched{Order: o, Name: name} }).ToStream().To(joined)
	table.GroupBy("amounts", func(_ string, o order) (string, float64) { return o.Customer, o.Amount }).
		Aggregate(state.NewKV[string, float64]("sum"), func() float64 { return 0 },
			func(_ string, v, a float64) float64 { return a + v }, func(_ string, v, a float64) float64 { return a - v }).
		Suppress(stream.UntilTimeLimit(time.Second, "held"))

	mine.Join(b.Stream(orders).SelectKey(func(_ string, o order) string { return o.Customer }).KeepsPartition(),
		stream.Around(time.Hour, 0).BoundedByLeft(func(order) (from, to time.Time) { return from, to }), "again",
		func(a, _ order) order { return a }).To(orders)
	mine.GroupByKey().Windowed(stream.Months(1, time.UTC, time.Hour)).Count(state.NewWindowed[string, int64]("monthly")).
		KeyStream().To(counts)
	mine.Deduplicate(stream.DuplicatesWithin(time.Hour).Extend(), "once",
		func(_ string, o order) float64 { return o.Amount }).
		JoinAsOf(b.VersionedTable(in, state.NewVersioned[string, string]("names", time.Hour)),
			stream.AtOrAfter(time.Second, time.Second).RecordsMax(9), "named",
			func(o order, name string) enriched { return enriched{Order: o, Name: name} }).To(joined)
	table.GroupBy("ranked", func(_ string, o order) (string, float64) { return o.Customer, o.Amount }).
		Top(state.NewKV[string, []float64]("ranks"), 3, cmp.Compare[float64]).ToStream()

	topo, err := b.Build()
	require.NoError(t, err)
	require.Contains(t, topo.Describe().String(), "Processor: window-count-per-minute (stores: [per-minute])")
}
