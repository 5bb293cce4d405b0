package runtime_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
	"thalweg/runtime"
	"thalweg/state"
)

// local returns the stores on the disk for which keep returns true.
func local(t *testing.T, l *runtime.LocalState, keep func(runtime.LocalStore) bool) []runtime.LocalStore {
	t.Helper()
	stores, err := l.Stores()
	require.NoError(t, err)
	return slices.DeleteFunc(stores, func(s runtime.LocalStore) bool { return !keep(s) })
}

func openLocal(t *testing.T, dir string) *runtime.LocalState {
	t.Helper()
	l, err := runtime.OpenLocalState(dir, nil)
	require.NoError(t, err)
	return l
}

// The rows of one task are dropped, and then those of a store that the program does not have any more: each time the
// space is free, and nothing else is gone.
func TestLocalState(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.State.FS, cfg.State.Dir = nil, t.TempDir()
	dir := filepath.Join(cfg.State.Dir, "wordcount")
	_, err := runtime.OpenLocalState(dir, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoDirExists(t, dir)
	h.unique("first", 60)
	began := time.Now().Add(-time.Second)
	app := h.start(words(t, byWord), cfg).caughtUp()
	_, err = runtime.OpenLocalState(dir, nil)
	require.ErrorContains(t, err, "in use by this process")
	require.ErrorIs(t, err, runtime.ErrStateInUse)
	require.ErrorContains(t, err, "close the application")
	app.stop()
	_, err = runtime.OpenLocalState(cfg.State.Dir, nil)
	require.ErrorContains(t, err, "it is one of "+dir)

	l := openLocal(t, dir)
	all := local(t, l, func(runtime.LocalStore) bool { return true })
	require.Len(t, all, 4)
	var rows int64
	for i, s := range all {
		require.Equal(t, "by-word", s.Store)
		require.EqualValues(t, i, s.Partition)
		require.Equal(t, runtime.TaskID{Subtopology: 1, Partition: s.Partition}.String(), s.Task)
		require.False(t, s.Gone)
		require.Equal(t, state.KindKeyValue, s.Origin.Kind)
		require.Equal(t, "wordcount-by-word-changelog", s.Origin.Topic)
		require.Positive(t, s.Offset)
		require.True(t, s.Known)
		require.WithinRange(t, s.Synced, began, time.Now().Add(time.Second))
		require.Positive(t, s.Bytes)
		rows += s.Rows
	}
	require.InDelta(t, len(h.want), rows, float64(len(h.want)/10))
	require.NoError(t, l.Close())
	before := faultfs.DirBytes(t, dir)
	l = openLocal(t, dir)
	require.NoError(t, l.Drop(t.Context(), all[2]))
	require.Len(t, local(t, l, func(runtime.LocalStore) bool { return true }), 3)
	require.NoError(t, l.Close())
	require.Less(t, faultfs.DirBytes(t, dir), before-all[2].Bytes*9/10)

	app = h.start(words(t, byWord), cfg).settled() // restores what was dropped
	view, err := app.View(byWord)
	require.NoError(t, err)
	found := map[string]int64{}
	for e, err := range byWord.Read(view.Reader).All() {
		require.NoError(t, err)
		found[e.Key] = e.Value
	}
	require.Equal(t, h.want, found)
	app.stop()

	other := state.NewKV[string, int64]("by-word-2")
	h.start(words(t, other), cfg).settled().stop()
	l = openLocal(t, dir)
	gone := local(t, l, func(s runtime.LocalStore) bool { return s.Gone })
	require.Len(t, gone, 4)
	for _, s := range gone {
		require.Equal(t, "by-word", s.Store)
		require.Empty(t, s.Task)
		require.WithinRange(t, s.Synced, began, time.Now().Add(time.Second))
	}
	require.NoError(t, l.Drop(t.Context(), gone...))
	require.Empty(t, local(t, l, func(s runtime.LocalStore) bool { return s.Gone }))
	require.NoError(t, l.Close())
	require.Less(t, faultfs.DirBytes(t, dir), int64(1<<20+200<<10), "of the reserve, and of nothing much")
}

// A global store that was dropped is filled again from the beginning of its topic.
func TestLocalStateOfAGlobalStore(t *testing.T) {
	h := newHarness(t)
	h.create(2, "prices")
	h.produce(h.price("a", 1), h.price("b", 2))
	cfg := h.config()
	h.start(priced(t), cfg).settled().stop()
	l, err := runtime.OpenLocalState("state/wordcount", cfg.State.FS)
	require.NoError(t, err)
	stores := local(t, l, func(s runtime.LocalStore) bool { return s.Partition < 0 })
	require.Len(t, stores, 1)
	require.Equal(t, "price-rows", stores[0].Store)
	require.Equal(t, state.FromGlobal, stores[0].Origin.Filling)
	require.False(t, stores[0].Gone)
	require.NotZero(t, stores[0].Synced)
	require.NoError(t, l.Drop(t.Context(), stores...))
	require.Empty(t, local(t, l, func(s runtime.LocalStore) bool { return s.Partition < 0 }))
	require.NoError(t, l.Close())
	app := h.start(priced(t), cfg).settled()
	require.Equal(t, map[string]int64{"a": 1, "b": 2}, app.prices())
	app.stop()
}

// A disk without any space is what dropping is for: stores are listed and dropped there, and space returns. The reserve
// file may be there, or the application has used it up.
func TestLocalStateOnAFullDisk(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		t.Run(fmt.Sprintf("reserve=%v", reserve), func(t *testing.T) {
			h := newHarness(t)
			cfg := h.config()
			disk := faultfs.NewDisk(vfs.NewMem(), 1<<30)
			cfg.State.FS = disk
			h.unique("first", 60)
			h.start(words(t, byWord), cfg).caughtUp().stop()
			h.start(words(t, state.NewKV[string, int64]("other")), cfg).settled().stop()
			const dead = "state/wordcount/state/999999.sst"
			if !reserve { // a table that was being written when the process was killed
				require.NoError(t, disk.Remove("state/wordcount/state/RESERVE"))
				f, err := disk.Create(dead, vfs.WriteCategoryUnspecified)
				require.NoError(t, err)
				_, err = f.Write(make([]byte, 4<<20))
				require.NoError(t, errors.Join(err, f.Close()))
			}
			before := disk.UsedBytes()
			disk.Resize(before)
			l, err := runtime.OpenLocalState("state/wordcount", disk)
			require.NoError(t, err)
			gone := local(t, l, func(s runtime.LocalStore) bool { return s.Gone })
			require.Len(t, gone, 4)
			require.Equal(t, before, disk.UsedBytes(), "looking needs no space")
			require.NoError(t, l.Drop(t.Context(), gone...))
			require.Empty(t, local(t, l, func(s runtime.LocalStore) bool { return s.Gone }))
			require.NoError(t, l.Close())
			require.Less(t, disk.UsedBytes(), before-100<<10)
			disk.Resize(1 << 30)
			h.start(words(t, state.NewKV[string, int64]("other")), cfg).settled().stop()
		})
	}
}

// A disk that is mounted read-only lets its stores be listed, and says that it is read-only where one is dropped.
func TestLocalStateOnAReadOnlyFileSystem(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.unique("first", 20)
	h.start(words(t, byWord), cfg).caughtUp().stop()
	refuse := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLock || op.Kind != errorfs.OpFileClose && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &fs.PathError{Op: "open", Path: op.Path, Err: syscall.EROFS}
		}
		return nil
	})
	l, err := runtime.OpenLocalState("state/wordcount", errorfs.Wrap(cfg.State.FS, refuse))
	require.NoError(t, err)
	all := local(t, l, func(runtime.LocalStore) bool { return true })
	require.Len(t, all, 4)
	require.ErrorContains(t, l.Drop(h.ctx, all...), "read-only: mount it for writing")
	require.Len(t, local(t, l, func(runtime.LocalStore) bool { return true }), 4)
	require.NoError(t, l.Close())

	denied := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLock {
			return &fs.PathError{Op: "open", Path: op.Path, Err: syscall.EACCES}
		}
		return nil
	})
	_, err = runtime.OpenLocalState("state/wordcount", errorfs.Wrap(cfg.State.FS, denied))
	require.ErrorContains(t, err, "must be able to write")
	require.NotContains(t, err.Error(), "close the application")
}

func TestRemoveLocalState(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.State.Dir, cfg.State.FS = t.TempDir(), nil
	dir := filepath.Join(cfg.State.Dir, cfg.ApplicationID)
	app := h.start(words(t, byWord), cfg)
	h.feed(10)
	app.caughtUp()
	err := runtime.RemoveLocalState(dir, nil)
	require.ErrorContains(t, err, "in use by this process")
	require.ErrorIs(t, err, runtime.ErrStateInUse)
	app.stop()
	err = runtime.RemoveLocalState(cfg.State.Dir, nil)
	require.ErrorContains(t, err, "it is one of "+dir)
	require.ErrorIs(t, err, runtime.ErrStateUnusable)
	require.DirExists(t, dir)
	manifests, err := filepath.Glob(filepath.Join(dir, "state", "MANIFEST-*"))
	require.NoError(t, err)
	require.NotEmpty(t, manifests)
	require.NoError(t, os.Truncate(manifests[0], 1)) // damaged
	require.NoError(t, runtime.RemoveLocalState(dir, nil))
	require.NoDirExists(t, dir)
	require.NoError(t, runtime.RemoveLocalState(dir, nil), "there is nothing left")
}

// A directory that has more than an application's files is left as it is: a broker's data may lie in there.
func TestRemoveLocalStateLeavesWhatIsNotItsOwn(t *testing.T) {
	for name, files := range map[string][]string{
		"above":                            {"broker/lines-0/1.log", "state/wordcount/process", "state/wordcount/lock"},
		"above, no broker":                 {"state/wordcount/process", "state/wordcount/lock"},
		"above, with a lock":               {"broker/lines-0/1.log", "lock", "pid", "state/wordcount/process"},
		"an application's, and a broker's": {"broker/lines-0/1.log", "lock", "process", "state/STATE_FORMAT"},
		"an application's, and a file":     {"lock", "notes.txt", "state/STATE_FORMAT"},
		"files of the same names":          {"lock", "state"},
		"no lock":                          {"process", "state/STATE_FORMAT"},
	} {
		dir := t.TempDir()
		for _, file := range files {
			path := filepath.Join(dir, filepath.FromSlash(file))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		err := runtime.RemoveLocalState(dir, nil)
		require.ErrorIs(t, err, runtime.ErrStateUnusable, name)
		var left []string
		require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
			if !d.IsDir() {
				left = append(left, path)
			}
			return err
		}))
		require.ElementsMatch(t, files, left, name)
	}
}

// What a removal that failed has left can be removed.
func TestRemoveLocalStateGoesOn(t *testing.T) {
	for _, files := range [][]string{{"lock"}, {"lock", "pid"}, {"lock", "stores"}, {"lock", "process.new", "process"}} {
		dir := filepath.Join(t.TempDir(), "wordcount")
		require.NoError(t, os.Mkdir(dir, 0o700))
		for _, file := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
		}
		require.NoError(t, runtime.RemoveLocalState(dir, nil), files)
		require.NoDirExists(t, dir)
	}
}

// An application can't take the directory before all of it is gone. What it has made then stays.
func TestRemoveLocalStateKeepsTheLock(t *testing.T) {
	mem := vfs.NewMem()
	const dir, lock = "state/wordcount", "state/wordcount/lock"
	require.NoError(t, mem.MkdirAll(dir+"/state", 0o700))
	for _, file := range []string{lock, dir + "/process", dir + "/state/STATE_FORMAT"} {
		f, err := mem.Create(file, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	removed := 0
	starting := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case op.Kind != errorfs.OpRemove && op.Kind != errorfs.OpRemoveAll:
		case op.Path == dir:
			_, err := mem.Lock(lock)
			require.NoError(t, err)
		default:
			removed++
			_, err := mem.Lock(lock)
			require.ErrorIs(t, err, syscall.EAGAIN, op.Path)
		}
		return nil
	}))
	require.NoError(t, runtime.RemoveLocalState(dir, starting))
	require.Equal(t, 4, removed, "pid, state, process, lock")
	left, err := mem.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"lock"}, left)
}
