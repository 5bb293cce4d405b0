package main

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/stream/streamtest"
)

// Whatever is asked for, no account is overdrawn, and its state is the sum of its events: after a crash that loses all
// state, and for somebody who begins years later.
func TestStateIsTheSumOfTheEvents(t *testing.T) {
	topo, err := bank()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{Partitions: 2})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for i := range 300 {
		if i == 150 {
			d.Restart(streamtest.LoseState)
		}
		c := Command{Do: pick("open", "deposit", "withdraw", "withdraw", "close", "pray"), Cents: r.Int64N(100)}
		d.Input(Commands).Send(pick("anna", "bo", "cleo"), c, int64(i))
	}
	events := d.Output(Events).ReadAll()
	folded := map[string]Account{}
	for _, e := range events {
		folded[e.Key] = folded[e.Key].Apply(e.Value)
		require.GreaterOrEqual(t, folded[e.Key].Cents, int64(0))
	}
	require.Len(t, folded, 3)

	topo, err = rebuilt()
	require.NoError(t, err)
	later := streamtest.New(t, topo, streamtest.Config{})
	for _, e := range events {
		later.Input(Events).SendRecord(e)
	}
	for name, want := range folded {
		for _, d := range []*streamtest.Driver{d, later} {
			got, ok := d.Get(Balances, name)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
	}
}
