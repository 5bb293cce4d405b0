package pebble

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
)

// The space of what is dropped is free, wherever its tables lie and whatever shares them; all else is as it was.
func TestDropReturnsSpace(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted=%v", compacted), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			dir := t.TempDir()
			open := func() *Engine {
				e, err := openWith(dir, Options{MemtableBytes: 256 << 10}, func(o *pebble.Options) {
					for i := range o.TargetFileSizes {
						o.TargetFileSizes[i] = 128 << 10
					}
				})
				require.NoError(t, err)
				return e
			}
			e := open()
			const ranges, rows = 5, 4000
			value := make([]byte, 100)
			put := func(from, to int) {
				for i := from; i < to; i += 500 {
					b := e.NewBatch(0)
					for at := range ranges { // all lie in the same tables of level 0
						for j := i; j < i+500; j++ {
							for k := range value {
								value[k] = byte(r.Uint32())
							}
							require.NoError(t, b.Set(fmt.Appendf(nil, "%d/%06d", at, j), value))
						}
					}
					require.NoError(t, b.Commit())
				}
			}
			put(0, rows)
			if compacted {
				require.NoError(t, e.db.Compact(t.Context(), []byte("0"), []byte("9"), false))
			}
			require.NoError(t, e.Close())
			e = open()
			all, bytes, err := e.Usage([]byte("0"), []byte("9"))
			require.NoError(t, err)
			if compacted {
				require.InDelta(t, ranges*rows, all, ranges*rows/50)
			}
			require.Greater(t, bytes, int64(ranges*rows*100))
			one, _, err := e.Usage([]byte("2/"), []byte("20"))
			require.NoError(t, err)
			require.InDelta(t, rows, one, rows/2)
			require.NoError(t, e.Close())
			before := faultfs.DirBytes(t, dir)

			e = open()
			put(0, 500) // not yet on the disk
			require.NoError(t, e.Drop(t.Context(), Range{[]byte("1/"), []byte("10")}, Range{[]byte("3/"), []byte("30")}))
			require.NoError(t, e.Drop(t.Context(), Range{[]byte("7/"), []byte("70")}), "where there is nothing")
			remain, _, err := e.Reclaim(t.Context())
			require.NoError(t, err)
			require.Zero(t, remain)
			require.NoError(t, e.Close())
			after := faultfs.DirBytes(t, dir)
			const dropped = 2 * rows * 100
			t.Logf("%d KiB before, %d after, dropped %d", before>>10, after>>10, dropped>>10)
			require.Less(t, after, before-dropped*9/10)
			e = open()
			counts := map[byte]int{}
			it, err := e.Iterate(nil, nil)
			require.NoError(t, err)
			for ok := it.First(); ok; ok = it.Next() {
				require.Equal(t, fmt.Sprintf("%06d", counts[it.Key()[0]]), string(it.Key()[2:]))
				counts[it.Key()[0]]++
			}
			require.NoError(t, it.Close())
			require.Equal(t, map[byte]int{'0': rows, '2': rows, '4': rows}, counts)
			require.NoError(t, e.Drop(t.Context(), Range{[]byte("0"), []byte("9")}))
			require.NoError(t, e.Close())
			require.Less(t, faultfs.DirBytes(t, dir), int64(reserveBytes+100<<10))
		})
	}
}
