package runtime

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
)

// What is deleted from a changelog is never a row that the store still has, whatever the order in which rows come, and
// where stream time stands still the marks stay few.
func TestOnlyExpiredRowsAreDeleted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var e expiring
	var rows []int64 // times, by offset
	x := state.Expiry{Newest: -1}
	deleted := int64(0)
	for step := range 20_000 {
		for range r.IntN(3) {
			at := x.Before + r.Int64N(500)
			if r.IntN(50) == 0 {
				at += 100_000
			}
			rows = append(rows, at)
			x.Newest = max(x.Newest, at)
		}
		if step > 15_000 { // it stood still before
			x.Before += r.Int64N(100)
		}
		now := e.note(x, int64(len(rows)))
		require.LessOrEqual(t, len(e.marks), expiryMarksMax)
		for _, at := range rows[min(deleted, now.offset):now.offset] {
			require.Less(t, at, x.Before)
		}
		deleted = max(deleted, now.offset)
	}
	require.Positive(t, deleted)
	x.Before = x.Newest + 1
	require.EqualValues(t, len(rows), e.note(x, int64(len(rows))).offset, "in the end all of it goes")
}
