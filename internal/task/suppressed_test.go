package task_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// The changelog of a suppression says in which form its rows are, and what does not say so is refused.
func TestSuppressionsSayTheirForm(t *testing.T) {
	name := state.NewSuppressed[string, string]("held")
	put := processor{process: func(c *topology.Context[string, string], r text) error {
		st, err := name.Open(c)
		switch {
		case err != nil:
			return err
		case r.Value == "go":
			return st.Delete(r.Key, r.Timestamp)
		default:
			return st.Put(r.Key, r.Value, r.Timestamp)
		}
	}}
	nodes := chain(source("in", "in"), process("p", put, name))
	r := newRig(t, task.Config{}, nodes)
	r.add("in", 0, text{Key: "a", Value: "row", Timestamp: 1}, text{Key: "b", Value: "row", Timestamp: 2})
	r.step(2)
	r.commit()
	r.add("in", 2, text{Key: "b", Value: "go", Timestamp: 3})
	r.step(1)
	r.commit()
	forms := map[string][]batch.Header{}
	for b, err := range batch.BatchesOf(r.topics["app-held-changelog"]) {
		require.NoError(t, err)
		it, err := b.Records(nil)
		require.NoError(t, err)
		for rec := (batch.Record{}); it.Next(&rec); {
			forms[string(rec.Key)+string(rec.Value)], err = rec.Headers(nil)
			require.NoError(t, err)
		}
	}
	third := []batch.Header{{Key: "v", Value: []byte{3}}}
	require.Equal(t, map[string][]batch.Header{"arow": third, "brow": third, "b": nil}, forms)
	r.start(task.Config{Start: r.committed}, nodes)

	topo, err := topology.New(nodes)
	require.NoError(t, err)
	second := r.bare(topo)
	_, err = second.Stores.Restore("held", 0, encode(t, 4, text{Key: "a", Value: "row",
		Headers: []batch.Header{{Key: "v", Value: []byte{2}}}}))
	require.ErrorContains(t, err, "offset 4: the changelog record does not have the header v=03")
	require.ErrorContains(t, err, "topic app-held-changelog partition 0")
	require.NoError(t, second.Close())
}
