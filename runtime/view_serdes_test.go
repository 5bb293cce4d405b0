package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

// A view reads a store as it is written, with the serdes of the topic that the store is made of: the name that asks
// need not know them.
func TestViewReadsWithTheStoresSerdes(t *testing.T) {
	h := newHarness(t)
	topic := stream.NewTopic[string, string]("lines").Keys(serde.JSON[string]()).Values(serde.JSON[string]())
	rows := state.NewKV[string, string]("rows")
	b := stream.NewBuilder()
	b.Table(topic, rows)
	topo, err := b.Build()
	require.NoError(t, err)
	cfg := h.config()
	require.NoError(t, h.clientOf(cfg).Put(h.ctx, topic, "water", "deep"))
	app := h.start(topo, cfg).caughtUp()
	require.NoError(t, app.Checkpoint(h.ctx))
	view, err := app.View(rows)
	require.NoError(t, err)
	value, _, ok, err := rows.Read(view.Reader).Get("water")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "deep", value)
	require.NoError(t, view.Close())
	app.stop()
}

// What Build can only suspect is in the application's log.
func TestWarningsOfATopologyAreLogged(t *testing.T) {
	even := func(string, string, int) int { return 0 }
	b := stream.NewBuilder()
	left := b.Stream(stream.NewTopic[string, string]("left").Partition(even))
	left.Join(b.Stream(stream.NewTopic[string, string]("right")), stream.Around(0, 0), "j",
		func(a, b string) string { return a + b })
	topo, err := b.Build()
	require.NoError(t, err)
	cfg := newHarness(t).config()
	log := loggedTo(&cfg)
	_, err = runtime.New(topo, cfg)
	require.NoError(t, err)
	require.Contains(t, log.String(), "level=WARN")
	require.Contains(t, log.String(), "the topics have different partitioners")
}
