package task_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/invariant"
	"thalweg/internal/task"
	"thalweg/topology"
)

// send takes what is in the outbox as a worker would, without keeping it.
func send(t testing.TB, o *task.Outbox, packets []*task.Packet) {
	for _, p := range packets {
		_, err := p.Builder.Finish(batch.NoProducer())
		require.NoError(t, err)
		o.Recycle(p)
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	if invariant.Enabled {
		t.Skip("the checks allocate")
	}
	const records = 1000
	pass := &topology.Node{Name: "p", Kind: topology.KindProcessor, Site: "site"}
	pass.Make = topology.Between(func(in *topology.Instance, next port) (port, error) {
		var out text
		return func(r *text) error {
			in.Enter()
			out = *r
			return next(&out)
		}, nil
	})
	a, b, out := source("a", "left"), source("b", "right"), sink("o", "out")
	a.Connect(pass)
	b.Connect(pass)
	pass.Connect(out)
	r := newRig(t, task.Config{}, []*topology.Node{a, b, pass, out})
	next := int64(0)
	var texts []text
	for i := range records {
		texts = append(texts, text{Key: fmt.Sprintf("key%d", i%100), Value: "some value", Timestamp: int64(i)})
	}
	round := func() {
		r.add("left", next, texts...)
		r.add("right", next, texts...)
		next += records
		r.step(2 * records)
		_, err := r.task.Ready()
		require.NoError(t, err)
		send(t, r.outbox, r.outbox.Take())
		require.NoError(t, r.task.Advance(func(string) int64 { return next }))
	}
	round()
	r.add("left", next, texts...)
	r.add("right", next, texts...)
	allocs := testing.AllocsPerRun(1, func() {
		if n, err := r.task.Step(records-1, 0); err != nil || n != records-1 {
			t.Fatal(n, err)
		}
	})
	// The outbox may grow its builders, and take a packet for a full one.
	require.Less(t, allocs, float64(records)/50)
}
