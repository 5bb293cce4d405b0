package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/verify/readme"
)

func TestNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hello")
	out := works(t, "", "new "+dir)
	require.Contains(t, out, "next: cd "+dir+" && go test ./... && go run .\n")
	require.Equal(t, []string{
		"GOTOOLCHAIN=auto go run ./cmd/thalweg new ../hello", "cd ../hello && go test ./... && go run .",
	}, readme.Commands(t, "new project"), "the README says the same")
	require.FileExists(t, filepath.Join(dir, "main.go"))
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	require.Contains(t, string(mod), "replace thalweg => /")
	// With another toolchain everything is compiled once more.
	_, toolchain, _ := strings.Cut(string(mod), "\ntoolchain ")
	toolchain, _, _ = strings.Cut(toolchain, "\n")
	require.True(t, strings.HasSuffix(readme.Commands(t, "existing module")[0], " -toolchain="+toolchain))
	_, err = thalweg(t, "", "new "+dir)
	require.ErrorContains(t, err, "is not empty")
	_, err = thalweg(t, "", "new "+dir+"2 -library "+dir)
	require.ErrorContains(t, err, "does not hold the module thalweg")
}
