package pebble

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// Directories that were written with other settings open, and their rows are read and rewritten.
func TestTablesOfOtherSettings(t *testing.T) {
	other := map[string]func(*pebble.Options){
		"before": func(o *pebble.Options) { // what they were before setTables
			o.Levels = [len(o.Levels)]pebble.LevelOptions{}
			o.Levels[0] = pebble.LevelOptions{BlockSize: 8 << 10, FilterPolicy: bloom.FilterPolicy(10)}
		},
		"zstd":       compression(sstable.ZstdCompression, sstable.ZstdCompression),
		"no filters": func(o *pebble.Options) { setFilters(o, pebble.NoFilterPolicy) },
		"long":       together(filterBits(20), blockSize(64<<10)),
	}
	for name, change := range other {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			key := func(n int) []byte { return fmt.Appendf(nil, "key%05d", n) }
			write := func(e *Engine, from, step int) {
				for part := range 5 {
					b := e.NewBatch(0)
					for n := from + part*step; n < 3000; n += 5 * step {
						require.NoError(t, b.Set(key(n), fmt.Appendf(nil, "%0100d", n+from)))
					}
					require.NoError(t, b.Commit())
					require.NoError(t, e.Flush())
				}
				require.NoError(t, e.Close())
			}
			e, err := openWith("state", Options{FS: fs}, change)
			require.NoError(t, err)
			write(e, 0, 1)
			for range 2 {
				e, err = Open("state", Options{FS: fs})
				require.NoError(t, err)
				for n := range 3000 {
					value, found, err := e.Get(nil, key(n))
					require.NoError(t, err)
					require.True(t, found, "key %d", n)
					require.Contains(t, []string{fmt.Sprintf("%0100d", n), fmt.Sprintf("%0100d", n+1)}, string(value))
				}
				_, found, err := e.Get(nil, key(3000))
				require.NoError(t, err)
				require.False(t, found)
				write(e, 1, 3)
			}
		})
	}
}

func setFilters(o *pebble.Options, policy pebble.FilterPolicy) {
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = policy
	}
}
