package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

var (
	prices    = stream.NewTopic[string, int64]("prices")
	priceRows = state.NewKV[string, int64]("price-rows")
	lines     = stream.NewTopic[string, string]("lines")
	totals    = stream.NewTopic[string, int64]("counts")
)

// priced joins each line with the price that it names.
func priced(t *testing.T) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream(lines).
		LeftJoinGlobal(b.GlobalTable(prices, priceRows), func(_, item string) (string, bool) { return item, true },
			func(_ string, price *int64) int64 {
				if price == nil {
					return -1
				}
				return *price
			}).
		To(totals)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func (h *harness) price(item string, price int64) *kgo.Record {
	keys, values := prices.Serdes()
	r := &kgo.Record{Topic: "prices"}
	var err error
	r.Key, err = keys.Append(nil, item)
	require.NoError(h.t, err)
	r.Value, err = values.Append(nil, price)
	require.NoError(h.t, err)
	return r
}

// ask sends a line and returns the price that comes out for it.
func (h *harness) ask(app *running, key, item string) int64 {
	h.t.Helper()
	h.produce(&kgo.Record{Topic: "lines", Key: []byte(key), Value: []byte(item)})
	app.caughtUp()
	var price int64
	for _, r := range h.read("counts") {
		if string(r.Key) == key {
			price = number(h.t, r.Value)
		}
	}
	return price
}

// view reads the global store through a view.
func (r *running) prices() map[string]int64 {
	r.h.t.Helper()
	view, err := r.View(priceRows)
	require.NoError(r.h.t, err)
	defer view.Close()
	rows := map[string]int64{}
	for e, err := range priceRows.Read(view.Reader).All() {
		require.NoError(r.h.t, err)
		rows[e.Key] = e.Value
	}
	return rows
}

func TestGlobalTable(t *testing.T) {
	h := newHarness(t)
	h.create(3, "prices")
	const items = 500
	var first []*kgo.Record
	for i := range items {
		first = append(first, h.price(fmt.Sprint("item", i), int64(i)))
	}
	h.produce(first...)
	cfg := h.config()
	cfg.Workers = 2
	var mu sync.Mutex
	var began []runtime.Restore
	cfg.Hooks.RestoreStarted = func(r runtime.Restore) {
		mu.Lock()
		defer mu.Unlock()
		began = append(began, r)
	}
	app := h.start(priced(t), cfg).settled()
	for _, i := range []int{0, 17, items - 1} { // all is there before the first line is processed
		require.EqualValues(t, i, h.ask(app, fmt.Sprint("line", i), fmt.Sprint("item", i)))
	}
	require.EqualValues(t, -1, h.ask(app, "lineX", "nothing"))
	require.Len(t, app.prices(), items)
	mu.Lock()
	require.Len(t, began, 3)
	mu.Unlock()

	// An update while it runs.
	h.produce(h.price("item17", 1700))
	require.Eventually(t, func() bool { return app.prices()["item17"] == 1700 }, patience, poll)
	require.EqualValues(t, 1700, h.ask(app, "line17", "item17"))

	// What was written while it was down is there after a restart, and the rest is not read again.
	app.stop()
	h.produce(h.price("item18", 1800))
	mu.Lock()
	began = nil
	mu.Unlock()
	app = h.start(priced(t), cfg).settled()
	require.EqualValues(t, 1800, h.ask(app, "line18", "item18"))
	require.EqualValues(t, 1700, h.ask(app, "line17", "item17"))
	mu.Lock()
	require.Len(t, began, 1)
	require.Positive(t, began[0].Start)
	require.Equal(t, began[0].Start+1, began[0].End)
	mu.Unlock()

	// Another process has it too: the group does not share it out.
	other := h.config()
	other.Workers = 1
	second := h.start(priced(t), other).settled()
	require.Len(t, second.prices(), items)
	topics := h.read("prices")
	require.Len(t, topics, items+2)
	second.stop()
	app.stop()
	require.NotContains(t, h.topics(), "wordcount-price-rows-changelog")
}

func (h *harness) topics() []string {
	all, err := h.admin.ListTopics(h.ctx)
	require.NoError(h.t, err)
	return all.Names()
}

// What an aborted transaction wrote to the topic never was.
func TestGlobalTableReadsCommitted(t *testing.T) {
	h := newHarness(t)
	h.create(1, "prices")
	tx := brokertest.Client(t, h.broker, kgo.TransactionalID("feed"))
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		require.NoError(t, tx.BeginTransaction())
		price := int64(1)
		if end == kgo.TryAbort {
			price = 2
		}
		require.NoError(t, tx.ProduceSync(h.ctx, h.price("a", price)).FirstErr())
		require.NoError(t, tx.EndTransaction(h.ctx, end))
	}
	app := h.start(priced(t), h.config()).settled()
	require.Equal(t, map[string]int64{"a": 1}, app.prices())
	app.stop()
}

func TestGlobalTableIsFilledAnewWhenItsTopicWasMadeAnew(t *testing.T) {
	h := newHarness(t)
	h.create(1, "prices")
	h.produce(h.price("a", 1), h.price("b", 2))
	cfg := h.config()
	h.start(priced(t), cfg).settled().stop()
	_, err := h.admin.DeleteTopic(h.ctx, "prices")
	require.NoError(t, err)
	h.create(1, "prices")
	fresh := brokertest.Client(t, h.broker) // the other one knows the topic that was
	require.NoError(t, fresh.ProduceSync(h.ctx, h.price("c", 3)).FirstErr())
	app := h.start(priced(t), cfg).settled()
	require.Equal(t, map[string]int64{"c": 3}, app.prices())
	app.stop()
}

func TestGlobalTableStopsAtABadRow(t *testing.T) {
	h := newHarness(t)
	h.create(1, "prices")
	h.produce(h.price("a", 1), &kgo.Record{Topic: "prices", Key: []byte("b"), Value: []byte("no number")})
	err := h.start(priced(t), h.config()).fails()
	require.ErrorContains(t, err, "global store price-rows")
	require.ErrorContains(t, err, "prices")
	require.ErrorContains(t, err, "offset 1")

	cfg := h.config()
	cfg.Errors.Decode = topology.Skip
	app := h.start(priced(t), cfg).settled()
	require.Equal(t, map[string]int64{"a": 1}, app.prices())
	var skipped int64
	for _, n := range app.Stats().Nodes {
		skipped += n.Dropped[topology.Skipped.String()]
	}
	require.EqualValues(t, 1, skipped)
	app.stop()
}

func TestGlobalTableNeedsItsTopic(t *testing.T) {
	h := newHarness(t)
	ctx, cancel := context.WithCancel(h.ctx)
	cfg := h.config()
	app, err := runtime.New(priced(t), cfg)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	cancel() // it waits for the topic, and for nothing else
	require.NoError(t, errors.Join(<-ended))
}
