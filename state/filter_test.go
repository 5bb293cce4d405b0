package state

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilterMissesNothingAndLittleElse(t *testing.T) {
	for _, keys := range []int{1, 10, 1000, 100_000} {
		f := newFilter(keys)
		hash := func(i int) uint64 { return filterHash(fmt.Appendf(nil, "key-%d", i)) }
		for i := range keys {
			f.add(hash(i))
		}
		for i := range keys {
			require.True(t, f.may(hash(i)), "%d of %d", i, keys)
		}
		wrong := 0
		for i := range 10_000 {
			if f.may(hash(keys + i)) {
				wrong++
			}
		}
		require.Less(t, wrong, 300, "of %d keys", keys)
		require.LessOrEqual(t, len(f), keys*filterKeyBits/8+filterBlock)
	}
	require.True(t, filter(nil).may(1), "no filter says nothing")
}
