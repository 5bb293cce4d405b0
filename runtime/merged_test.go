package runtime_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

// twice reads one stream behind two repartitions. slow is called for each record of the second.
func twice(t *testing.T, slow func(), rules ...stream.Rule) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	if len(rules) > 0 {
		b.OptimizeWith(rules...)
	}
	in := b.Stream(lines)
	in.Repartition("one").To(stream.NewTopic[string, string]("first"))
	in.Repartition("two").Peek(func(string, string) { slow() }).To(stream.NewTopic[string, string]("second"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// A repartition that is no longer read is drained first, or given up.
func TestARepartitionWithARestIsNotGivenUp(t *testing.T) {
	h := newHarness(t)
	h.create(1, "first")
	h.create(1, "second")
	cfg := h.config()
	merged := []stream.Rule{stream.MergeRepartitions}
	n := h.leave(cfg, 100)
	for range 2 {
		err := h.start(twice(t, func() {}, merged...), cfg).fails()
		require.ErrorContains(t, err, "wordcount-two-repartition")
		require.ErrorContains(t, err, "MergeRepartitions")
	}
	h.start(twice(t, func() {}), cfg).caughtUp().stop() // as it was, until all is processed
	require.Len(t, h.read("second"), n)

	log := loggedTo(&cfg)
	app := h.start(twice(t, func() {}, merged...), cfg).caughtUp()
	h.produce(&kgo.Record{Topic: "lines", Key: []byte("more"), Value: []byte("v")})
	app.caughtUp().stop()
	require.Len(t, h.read("first"), n+1)
	require.Len(t, h.read("second"), n+1)
	text := log.String()
	require.Equal(t, 1, strings.Count(text, "wordcount-two-repartition is used in another way"), text)

	h.start(twice(t, func() {}), cfg).caughtUp().stop()
	h.leave(cfg, 10)
	h.follow(cfg, h.start(twice(t, func() {}, merged...), cfg).fails(), giveUp)
	h.start(twice(t, func() {}, merged...), cfg).caughtUp().stop()
	require.Len(t, h.read("second"), n+1)
}

// leave runs the application until so many records more wait in its second repartition topic.
func (h *harness) leave(cfg runtime.Config, n int) int {
	h.t.Helper()
	was, before := h.end("wordcount-two-repartition"), h.committed("lines")
	for i := range n {
		h.produce(&kgo.Record{Topic: "lines", Key: fmt.Append(nil, i), Value: []byte("v")})
	}
	stuck, cancel := context.WithCancel(h.ctx)
	app := h.start(twice(h.t, func() { <-stuck.Done(); panic("left where it is") }), cfg)
	require.Eventually(h.t, func() bool {
		return h.end("wordcount-two-repartition") > was+int64(n) && h.committed("lines") == before+int64(n)
	}, patience, poll)
	cancel()
	require.ErrorContains(h.t, app.fails(), "left where it is")
	return n
}

// end is the sum of a topic's end offsets.
func (h *harness) end(topic string) (sum int64) {
	for _, end := range h.ends(topic) {
		sum += end
	}
	return sum
}

// committed is the sum of the group's offsets in a topic.
func (h *harness) committed(topic string) (sum int64) {
	h.t.Helper()
	offsets, err := h.admin.FetchOffsets(h.ctx, "wordcount")
	require.NoError(h.t, err)
	for _, o := range offsets[topic] {
		sum += o.At
	}
	return sum
}
