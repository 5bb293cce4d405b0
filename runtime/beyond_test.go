package runtime_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// named calls for something for each order, and joins what it gets with the customers' table, which has no changelog.
func named(t *testing.T) *topology.Topology {
	b := stream.NewBuilder().OptimizeWith(stream.ReuseTopics)
	customers := b.Table(stream.NewTopic[string, string]("customers"), state.NewKV[string, string]("customer-rows"))
	b.Stream(stream.NewTopic[string, string]("orders")).
		MapAsync(4, func(_ context.Context, k, v string) (string, error) { return k + ":" + v, nil }).
		JoinTable(customers, func(order, customer string) string { return order + " for " + customer }).
		To(stream.NewTopic[string, string]("named"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func TestTableIsRestoredFromItsTopic(t *testing.T) {
	h := newHarness(t)
	for _, topic := range []string{"customers", "orders", "named"} {
		h.create(2, topic)
	}
	send := func(topic, value string) {
		for k := range 5 {
			r := kgo.KeyStringRecord(fmt.Sprint("k", k), value)
			r.Topic = topic
			h.produce(r)
		}
	}
	cfg := h.config()
	send("customers", "old")
	for round, lost := range []bool{false, false, true} {
		if lost {
			cfg.State.FS = vfs.NewMem()
		}
		app := h.start(named(t), cfg).settled()
		if round == 0 {
			send("customers", "new")
		}
		send("orders", fmt.Sprint("o", round))
		require.Eventually(t, func() bool { return len(h.read("named")) == 5*(round+1) }, patience, poll)
		app.stop()
	}
	rows := map[string]int{}
	for _, r := range h.read("named") {
		rows[string(r.Value)]++
	}
	for k := range 5 {
		require.Equal(t, 1, rows[fmt.Sprintf("k%d:o1 for new", k)], "with the local state")
		require.Equal(t, 1, rows[fmt.Sprintf("k%d:o2 for new", k)], "without it")
	}
	for _, topic := range h.topics() {
		require.NotContains(t, topic, "changelog")
	}
}
