package coord

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Against the naive way: a map that is searched.
func TestTimersAgainstMap(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var timers Timers[int]
	naive := map[int]time.Time{}
	start := time.Unix(1000, 0)
	now := start
	for range 20_000 {
		key := rnd.IntN(20)
		switch rnd.IntN(4) {
		case 0, 1:
			at := now.Add(time.Duration(rnd.IntN(1000)))
			timers.Set(key, at)
			naive[key] = at
		case 2:
			timers.Stop(key)
			delete(naive, key)
		case 3:
			now = now.Add(time.Duration(rnd.IntN(100)))
			due := map[int]bool{}
			for k, at := range naive {
				if !at.After(now) {
					due[k] = true
					delete(naive, k)
				}
			}
			got := map[int]bool{}
			for {
				k, ok := timers.Pop(now)
				if !ok {
					break
				}
				got[k] = true
			}
			require.Equal(t, due, got)
		}
		var first time.Time
		for _, at := range naive {
			if first.IsZero() || at.Before(first) {
				first = at
			}
		}
		require.Equal(t, first, timers.Deadline())
	}
}
