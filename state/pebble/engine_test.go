package pebble_test

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/memory"
	"thalweg/state/engine"
	inmemory "thalweg/state/memory"
	"thalweg/state/pebble"
	"thalweg/state/statetest"
)

func open(t *testing.T, fs vfs.FS) *pebble.Engine {
	t.Helper()
	e, err := pebble.Open("state", pebble.Options{
		FS: fs, MemtableBytes: 64 << 10, Memory: memory.NewShare(memory.Engine, 1<<20),
	})
	require.NoError(t, err)
	return e
}

func TestConformance(t *testing.T) {
	statetest.Conformance(t, func(t *testing.T) engine.Engine { return open(t, vfs.NewMem()) })
}

// restarting is a Pebble engine on a file system that loses what was not synced.
type restarting struct {
	fs     *vfs.MemFS
	engine *pebble.Engine
	r      *rand.Rand
}

func (r *restarting) Engine() engine.Engine { return r.engine }

func (r *restarting) Restart(t *testing.T) {
	require.NoError(t, r.engine.Close())
	r.engine = open(t, r.fs)
}

func (r *restarting) Crash(t *testing.T) {
	after := r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.r.IntN(101), RNG: r.r})
	require.NoError(t, r.engine.Close())
	r.fs = after
	r.engine = open(t, r.fs)
}

func TestMetamorphic(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	fs := vfs.NewCrashableMem()
	subject := &restarting{fs: fs, engine: open(t, fs), r: rand.New(rand.NewPCG(seed, 9))}
	statetest.Metamorphic(t, seed, 1500, subject, func() engine.Engine { return inmemory.New() })
}

func setFormat(t *testing.T, fs vfs.FS, version byte) {
	t.Helper()
	f, err := fs.Create("state/STATE_FORMAT", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write([]byte{version})
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestOpenRefusesAnotherFormat(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, open(t, fs).Close())
	setFormat(t, fs, 99)
	_, err := pebble.Open("state", pebble.Options{FS: fs})
	require.ErrorContains(t, err, "version 99")
}

func TestOpenReplacesAnOlderFormat(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, open(t, fs).Close())
	format := func() []byte {
		f, err := fs.Open("state/STATE_FORMAT")
		require.NoError(t, err)
		defer f.Close()
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		return b
	}
	now := format()
	setFormat(t, fs, 1)
	require.NoError(t, open(t, fs).Close())
	require.Equal(t, now, format())
}

func TestOpenRefusesADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	e, err := pebble.Open(dir, pebble.Options{})
	require.NoError(t, err)
	_, err = pebble.Open(dir, pebble.Options{})
	require.ErrorContains(t, err, "in use")
	require.NoError(t, e.Close())
}
