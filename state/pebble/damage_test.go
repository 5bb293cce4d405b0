package pebble_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/state/pebble"
)

// rewrite changes the content of the files of an engine whose names have a part.
func rewrite(t *testing.T, fs vfs.FS, part string, change func(content []byte) []byte) {
	t.Helper()
	names, err := fs.List("state")
	require.NoError(t, err)
	changed := 0
	for _, name := range names {
		if !strings.Contains(name, part) || strings.HasPrefix(name, "marker") {
			continue
		}
		path := fs.PathJoin("state", name)
		f, err := fs.Open(path)
		require.NoError(t, err)
		info, err := f.Stat()
		require.NoError(t, err)
		content := make([]byte, info.Size())
		_, err = f.ReadAt(content, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, fs.Remove(path))
		if content = change(content); content != nil {
			f, err = fs.Create(path, vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = f.Write(content)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		changed++
	}
	require.Equal(t, 1, changed)
}

// An engine whose files are damaged is not opened. The error names the file, and says what to remove and what that
// costs.
func TestDamagedFilesAreNamedAtTheStart(t *testing.T) {
	garbage := func([]byte) []byte { return []byte(strings.Repeat("garbage", 100)) }
	for name, c := range map[string]struct {
		part   string
		change func([]byte) []byte
	}{
		"table gone":       {".sst", func([]byte) []byte { return nil }},
		"table cut":        {".sst", func(b []byte) []byte { return b[:len(b)/2] }},
		"manifest garbage": {"MANIFEST", garbage},
		"manifest empty":   {"MANIFEST", func([]byte) []byte { return []byte{} }},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			e, err := pebble.Open("state", pebble.Options{FS: fs})
			require.NoError(t, err)
			require.NoError(t, put(e, 0, 1000))
			require.NoError(t, e.Close())
			rewrite(t, fs, c.part, c.change)
			_, err = pebble.Open("state", pebble.Options{FS: fs})
			require.Regexp(t, `damaged or incomplete \(state/(MANIFEST-\d+|\d+\.sst)\)`, err)
			require.Contains(t, err.Error(), c.part)
			require.ErrorContains(t, err, "remove the directory state and start again")
			require.ErrorContains(t, err, "restored from their changelogs")
			require.NotContains(t, err.Error(), "another process")
		})
	}
}

// Many tables that are missing are not all listed.
func TestManyMissingTablesAreCounted(t *testing.T) {
	fs := vfs.NewMem()
	e, err := pebble.Open("state", pebble.Options{FS: fs})
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, put(e, 1000*i, 1000*i+10))
		require.NoError(t, e.Flush())
	}
	require.NoError(t, e.Close())
	names, err := fs.List("state")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			require.NoError(t, fs.Remove("state/"+name))
		}
	}
	_, err = pebble.Open("state", pebble.Options{FS: fs})
	require.ErrorContains(t, err, ".sst, state/")
	require.NotContains(t, err.Error(), "\n")
}

// Damage that is met later names the file. Pebble meets it in a read, or before in a goroutine of its own.
func TestDamageNamesTheFile(t *testing.T) {
	e, fs := filled(t)
	fs.WrongBytes(".sst")
	_, _, err := e.Get(nil, []byte("key000100"))
	require.Regexp(t, `state/\d+\.sst`, err)
	require.ErrorContains(t, err, "remove the directory state and start again")
	_ = e.Close()
}
