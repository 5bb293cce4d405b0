package pebble

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// fullDisk says that nothing is free.
type fullDisk struct{ vfs.FS }

func (fullDisk) GetDiskUsage(string) (vfs.DiskUsage, error) { return vfs.DiskUsage{}, nil }

// On a disk without any space the rows that are dropped give theirs first, and no other rows do.
func TestADropMakesItsOwnSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	e, err := Open(dir, Options{})
	require.NoError(t, err)
	for _, store := range []string{"a", "b", "c"} {
		b := e.NewBatch(0)
		for i := range 5000 { // which no compression shrinks much
			require.NoError(t, b.Set(fmt.Appendf(nil, "%s/%06d", store, i), fmt.Appendf(nil, "%x", i*7919*7919)))
		}
		require.NoError(t, b.Commit())
		require.NoError(t, e.Flush())
	}
	require.NoError(t, e.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, reserveFile)))

	dropped := Range{[]byte("b"), []byte("c")}
	e, err = Open(dir, Options{ReadOnly: true})
	require.NoError(t, err)
	d, err := e.Droppable(dropped)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.NotEmpty(t, d.largest)
	require.NoError(t, d.Free(), "there is space")
	before := blocks(t, d.largest)
	require.Positive(t, before)
	d.fs = fullDisk{d.fs}
	if err := d.Free(); errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skip("the file system can't punch files")
	} else {
		require.NoError(t, err)
	}
	require.Less(t, blocks(t, d.largest), before/2)

	e, err = Open(dir, Options{NoReserve: true})
	require.NoError(t, err)
	require.NoError(t, e.Drop(t.Context(), dropped))
	remain, _, err := e.Reclaim(t.Context())
	require.NoError(t, err)
	require.Zero(t, remain)
	it, err := e.Iterate(nil, nil)
	require.NoError(t, err)
	counts := map[byte]int{}
	for ok := it.First(); ok; ok = it.Next() {
		counts[it.Key()[0]]++
	}
	require.NoError(t, errors.Join(it.Error(), it.Close()))
	require.Equal(t, map[byte]int{'a': 5000, 'c': 5000}, counts)
	require.NoError(t, e.Close())
	require.NoFileExists(t, d.largest)
	require.NoFileExists(t, filepath.Join(dir, reserveFile))
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks
}
