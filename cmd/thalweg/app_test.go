package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The directory of a broker lies beside that of the state. A reset that is pointed at both names the right one, and
// leaves everything.
func TestAppResetLeavesTheBrokersDirectory(t *testing.T) {
	at := " -brokers " + serve(t)
	works(t, "", "topics create wordcount-x-changelog -p 1"+at)
	top := t.TempDir()
	dir := filepath.Join(top, "wordcount")
	log := filepath.Join(dir, "broker", "lines-0", "1.log")
	own := filepath.Join(dir, "state", "wordcount", "process")
	files := []string{log, own, filepath.Join(filepath.Dir(own), "lock")}
	write := func(path string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	for _, path := range files {
		write(path)
	}
	for _, stateDir := range []string{dir, top} {
		for _, dry := range []string{"", " -dry-run"} {
			_, err := thalweg(t, "", "app reset wordcount -state-dir "+stateDir+dry+at)
			require.ErrorContains(t, err, "the application's directory is in "+filepath.Join(dir, "state")+": name that")
		}
	}
	_, err := thalweg(t, "", "app reset x -state-dir "+filepath.Join(dir, "state", "wordcount")+at)
	require.ErrorContains(t, err, "is the directory of an application: name the one above it")

	foreign := filepath.Join(top, "other")
	write(filepath.Join(foreign, "other", "lock"))
	write(filepath.Join(foreign, "other", "state", "STATE_FORMAT"))
	write(filepath.Join(foreign, "other", "broker", "1.log"))
	works(t, "", "topics create other-x-changelog -p 1"+at)
	_, err = thalweg(t, "", "app reset other -state-dir "+foreign+at)
	require.ErrorContains(t, err, `["broker"] is not an application's, and nothing was deleted`)
	require.FileExists(t, filepath.Join(foreign, "other", "broker", "1.log"))
	require.FileExists(t, filepath.Join(foreign, "other", "state", "STATE_FORMAT"))

	for _, path := range files {
		require.FileExists(t, path)
	}
	require.Contains(t, works(t, "", "topics list"+at), "wordcount-x-changelog")
	require.Contains(t, works(t, "", "topics list"+at), "other-x-changelog")
	works(t, "", "app reset wordcount -state-dir "+filepath.Join(dir, "state")+at)
	require.NoDirExists(t, filepath.Dir(own))
	require.FileExists(t, log)
}
