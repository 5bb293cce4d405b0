package assign

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestApportionIsExactAndFair(t *testing.T) {
	for range 2000 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		total, weights := rng.IntN(100), 0
		claims := make([]claim, 1+rng.IntN(8))
		for i := range claims {
			claims[i] = claim{weight: 1 + rng.IntN(5), wants: rng.IntN(30)}
			weights += claims[i].weight
		}
		sum := 0
		for i, s := range apportion(total, claims) {
			exact := float64(total*claims[i].weight) / float64(weights)
			require.InDelta(t, exact, s, 0.9999999, "seed %d: %v of %d", seed, claims, total)
			sum += s
		}
		require.Equal(t, total, sum, "seed %d", seed)
	}
}

func TestTheRemainderGoesToWhoHoldsMore(t *testing.T) {
	require.Equal(t, []int{2, 3}, apportion(5, []claim{{weight: 1, wants: 2}, {weight: 1, wants: 3}}))
	require.Equal(t, []int{3, 2}, apportion(5, []claim{{weight: 1, wants: 2}, {weight: 1, wants: 2}}))
	require.Equal(t, []int{2, 3}, apportion(5, []claim{{weight: 1, wants: 5, has: 0}, {weight: 1, wants: 3, has: 3}}))
}
