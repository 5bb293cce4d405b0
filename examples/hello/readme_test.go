package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/verify/readme"
)

func TestReadmeShowsThisProgramAndItsTest(t *testing.T) {
	for block, file := range map[string]string{"program: main.go": "main.go", "test: main_test.go": "main_test.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(text), readme.Block(t, block))
	}
}

func TestReadmeShowsTheGraph(t *testing.T) {
	require.Equal(t, must(build()).Describe().Mermaid(), readme.Block(t, "graph"))
}

// What the program prints comes from several partitions, in any order, and a commit that falls between two equal words
// makes one count more.
func TestReadmeShowsTheOutput(t *testing.T) {
	want := readme.Block(t, "output")
	t.Chdir(t.TempDir())
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = w
	main()
	os.Stdout = stdout
	require.NoError(t, w.Close())
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, latest(want), latest(string(out)))
}

// latest is the last count of each word.
func latest(lines string) map[string]string {
	counts := map[string]string{}
	for line := range strings.Lines(lines) {
		word, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		counts[word] = n
	}
	return counts
}
