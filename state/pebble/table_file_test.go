package pebble_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// writesFS counts the writes of tables, and their bytes.
type writesFS struct {
	vfs.FS
	writes, bytes atomic.Int64
}

func (fs *writesFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	return &writesFile{f, fs}, nil
}

type writesFile struct {
	vfs.File
	fs *writesFS
}

func (f *writesFile) Write(p []byte) (int, error) {
	f.fs.writes.Add(1)
	f.fs.bytes.Add(int64(len(p)))
	return f.File.Write(p)
}

func TestTablesAreWrittenInLargePieces(t *testing.T) {
	fs := &writesFS{FS: vfs.NewMem()}
	e := open(t, fs)
	for part := range 20 {
		b := e.NewBatch(0)
		for n := range 5000 {
			require.NoError(t, b.Set(fmt.Appendf(nil, "key%06d", 20*n+part), fmt.Appendf(nil, "%080d", n)))
		}
		require.NoError(t, b.Commit())
	}
	require.NoError(t, e.Close())
	require.Greater(t, fs.bytes.Load(), int64(8<<20))
	require.Greater(t, fs.bytes.Load()/fs.writes.Load(), int64(32<<10), "%d writes", fs.writes.Load())
	e = open(t, fs)
	value, found, err := e.Get(nil, []byte("key000027"))
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, fmt.Sprintf("%080d", 1), string(value))
	require.NoError(t, e.Close())
}
