package runtime_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/stream"
	"thalweg/topology"
)

// paired joins a stream with itself.
func paired(t *testing.T, rules ...stream.Rule) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	if len(rules) > 0 {
		b.OptimizeWith(rules...)
	}
	in := b.Stream(lines)
	in.Join(in, stream.Around(time.Hour, 0), "pairs", func(l, r string) string { return l + r }).
		To(stream.NewTopic[string, string]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// A buffer that another one stands for lacks what came meanwhile.
func TestShareSelfJoinsSwitchedOffIsRefused(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	send := func(value string) {
		h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte(value)})
	}
	send("a")
	h.start(paired(t), cfg).caughtUp().stop()
	send("b")
	h.start(paired(t, stream.ShareSelfJoins), cfg).caughtUp().stop()
	require.Len(t, h.read("counts"), 4, "a with a, and b with both, from both sides")
	err := h.start(paired(t), cfg).fails()
	require.ErrorContains(t, err, "ShareSelfJoins")
}
