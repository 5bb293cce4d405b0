package memory

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Holders and kept buffers never have more than there is, unless a holder is alone.
func TestAGateIsNotExceeded(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const limit = 1000
	share := NewShare(Requests, limit)
	m := NewGate(share, share.BytesMax)
	var held, holders atomic.Int64 // as far as is known: added after it is taken, and taken off before it is given back
	var wg sync.WaitGroup
	for i := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, i))
		wg.Go(func() {
			kept := int64(0)
			for range 2000 {
				bytes := 1 + random.Int64N(limit/2)
				if random.IntN(20) == 0 {
					bytes += limit
				}
				ctx, cancel := context.WithCancel(context.Background())
				if random.IntN(4) == 0 {
					cancel()
				}
				if m.Enter(ctx, bytes) == nil {
					n, all := holders.Add(1), held.Add(bytes)
					if n > 1 && all > limit {
						t.Errorf("%d holders hold %d bytes", n, all)
					}
					held.Add(-bytes)
					holders.Add(-1)
					m.Leave(bytes)
				}
				cancel()
				switch {
				case kept > 0:
					held.Add(-kept)
					m.Drop(kept)
					kept = 0
				case m.Keep(bytes / 4):
					kept = bytes / 4
					held.Add(kept)
				}
			}
			if kept > 0 {
				held.Add(-kept)
				m.Drop(kept)
			}
		})
	}
	wg.Wait()
	require.Zero(t, m.share.UsedBytes())
	require.Empty(t, m.waiting)
}

// Those who wait are served in their order, one who gives up lets the next pass, and so does a larger share.
func TestAGateIsPassedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		share := NewShare(Requests, 100)
		m := NewGate(share, share.BytesMax)
		require.NoError(t, m.Enter(t.Context(), 60))
		entered := make(chan int64, 3)
		enter := func(ctx context.Context, bytes int64) {
			if m.Enter(ctx, bytes) == nil {
				entered <- bytes
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		go enter(ctx, 500)
		synctest.Wait()
		go enter(t.Context(), 40)
		synctest.Wait()
		require.Empty(t, entered, "the second waits behind the first")
		cancel()
		synctest.Wait()
		require.EqualValues(t, 40, <-entered)
		go enter(t.Context(), 500)
		synctest.Wait()
		m.Leave(60)
		synctest.Wait()
		require.Empty(t, entered)
		m.Leave(40)
		require.EqualValues(t, 500, <-entered, "larger than all, alone")
		require.False(t, m.Keep(1), "nothing is left")
		m.Leave(500)
		require.False(t, m.Keep(26), "a quarter may be kept")
		require.True(t, m.Keep(25))

		require.NoError(t, m.Enter(t.Context(), 70))
		m.Adjust(100)
		require.EqualValues(t, 25+170, share.UsedBytes())
		go enter(t.Context(), 60)
		synctest.Wait()
		require.True(t, m.Waited())
		m.Adjust(-100)
		synctest.Wait()
		require.Empty(t, entered)
		share.resize(155)
		require.EqualValues(t, 60, <-entered)
		require.False(t, m.Waited())
	})
}
