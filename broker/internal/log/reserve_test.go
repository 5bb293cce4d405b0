package log

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// reservingFS notes what the segments of a directory on disk set aside.
type reservingFS struct {
	vfs.FS
	refused error

	mu       sync.Mutex
	reserved map[string][]stretch
}

type stretch struct{ from, to int64 }

func (fs *reservingFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	return &reservingFile{f, fs, filepath.Base(name)}, err
}

type reservingFile struct {
	vfs.File
	fs   *reservingFS
	name string
}

func (f *reservingFile) Preallocate(offset, length int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.reserved[f.name] = append(f.fs.reserved[f.name], stretch{offset, offset + length})
	if f.fs.refused == nil {
		_ = f.File.Preallocate(offset, length) // what a test's directory lies on may not know it
	}
	return f.fs.refused
}

// TestBlocksAreSetAside: from reserveFrom on, without gaps, within the segment's limit, and without a trace in the size
// of the file.
func TestBlocksAreSetAside(t *testing.T) {
	for _, refused := range []error{nil, errors.New("not supported")} {
		fs := &reservingFS{FS: vfs.Default, refused: refused, reserved: map[string][]stretch{}}
		options := newBench(t, vfs.NewMem(), SyncGroup).options()
		options.FS, options.Dir, options.Config = fs, t.TempDir(), Config{SegmentBytes: 12 << 20}
		l, err := Open(options)
		require.NoError(t, err)
		raw := plain(t, rec{key: "k", value: strings.Repeat("v", 1_000_000)})
		const appends = 20
		for range appends {
			appendDurable(t, l, raw)
		}
		first := fileName(0, logSuffix)
		info, err := fs.Stat(filepath.Join(options.Dir, first))
		require.NoError(t, err)
		require.EqualValues(t, 12*len(raw), info.Size())
		spans := fs.reserved[first]
		if refused != nil {
			require.Len(t, spans, 1, "not asked for again")
		} else {
			require.NotEmpty(t, spans)
			require.GreaterOrEqual(t, spans[0].from, int64(reserveFrom))
			require.Less(t, spans[0].from, int64(reserveFrom+len(raw)))
			for i := 1; i < len(spans); i++ {
				require.Equal(t, spans[i-1].to, spans[i].from)
			}
			require.Equal(t, options.Config.SegmentBytes, spans[len(spans)-1].to)
		}
		require.Len(t, values(t, l, ReadUncommitted, 1<<20), appends)
		require.NoError(t, l.Close())
		l, err = Open(options)
		require.NoError(t, err)
		require.Len(t, values(t, l, ReadUncommitted, 1<<20), appends)
		require.NoError(t, l.Close())
	}
}

func TestSmallWritesSetNothingAside(t *testing.T) {
	fs := &reservingFS{FS: vfs.Default, reserved: map[string][]stretch{}}
	options := newBench(t, vfs.NewMem(), SyncGroup).options()
	options.FS, options.Dir = fs, t.TempDir()
	l, err := Open(options)
	require.NoError(t, err)
	small := plain(t, rec{key: "k", value: strings.Repeat("v", reserveWrite/2)})
	for range 2 * reserveFrom / len(small) {
		_, err := l.Append(small)
		require.NoError(t, err)
	}
	require.Greater(t, l.active().size.Load(), int64(reserveFrom))
	require.Empty(t, fs.reserved)
	appendDurable(t, l, plain(t, rec{key: "k", value: strings.Repeat("v", reserveWrite)}))
	require.Len(t, fs.reserved, 1)
	require.NoError(t, l.Close())
}
