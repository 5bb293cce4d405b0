package pebble_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
)

func TestTablesAreWrittenInLargePieces(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	tables := fs.Count(".sst")
	e := open(t, fs)
	for part := range 20 {
		b := e.NewBatch(0)
		for n := range 5000 {
			require.NoError(t, b.Set(fmt.Appendf(nil, "key%06d", 20*n+part), fmt.Appendf(nil, "%080d", n)))
		}
		require.NoError(t, b.Commit())
	}
	require.NoError(t, e.Close())
	bytes, writes := tables.WriteBytes.Load(), tables.Writes.Load()
	require.Greater(t, bytes, int64(8<<20))
	require.Greater(t, bytes/writes, int64(32<<10), "%d writes", writes)
	e = open(t, fs)
	value, found, err := e.Get(nil, []byte("key000027"))
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, fmt.Sprintf("%080d", 1), string(value))
	require.NoError(t, e.Close())
}
