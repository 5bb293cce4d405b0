package op

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An agenda that holds few rows returns the rows of a store in the same order as a list of all. One search of the store
// finds many of them.
func TestAgendaEqualsList(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, inOrder := range []bool{false, true} {
		r := rand.New(rand.NewPCG(seed, 7))
		var store []wait // in order
		looks, listed, highest := 0, 0, 0
		a := &agenda{most: 64}
		a.look = func(from wait, list func(wait) bool) error {
			looks++
			rows := slices.Clone(store)
			if inOrder {
				at, _ := slices.BinarySearchFunc(rows, from, compareWaits)
				rows = rows[at:]
			} else {
				r.Shuffle(len(rows), func(i, k int) { rows[i], rows[k] = rows[k], rows[i] })
			}
			for _, w := range rows {
				listed++
				if !list(w) && inOrder {
					break
				}
			}
			return nil
		}
		now, taken := int64(0), 0
		for range 20_000 {
			now += r.Int64N(3)
			w := wait{time: now + r.Int64N(2000) - 20, bytes: binary.BigEndian.AppendUint32(nil, r.Uint32())}
			at, _ := slices.BinarySearchFunc(store, w, compareWaits)
			store = slices.Insert(store, at, w)
			a.add(w)
			for {
				first, ok, err := a.take(now)
				require.NoError(t, err)
				require.Equal(t, len(store) > 0 && store[0].time <= now, ok)
				if !ok {
					break
				}
				require.Equal(t, store[0], first)
				store = store[1:]
				taken++
			}
			highest = max(highest, len(a.rows))
			require.Equal(t, len(store), a.count)
		}
		require.LessOrEqual(t, highest, 64)
		require.Less(t, looks, taken/25)
		if inOrder {
			require.Less(t, listed, taken*3)
		}
	}
}
