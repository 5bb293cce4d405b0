package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page about the command line names each command, and what it shows is what happens.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/command-line.md")
	require.NoError(t, err)
	page := string(text)
	for path, cmd := range commands(t) {
		require.Contains(t, page, "| `"+strings.TrimSpace(path+strings.TrimPrefix(cmd.Use, cmd.Name()))+"` |")
	}
	at := " -brokers " + serve(t)
	blocks := strings.Split(page, "<!-- run -->\n```console\n")[1:]
	require.Len(t, blocks, 2)
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```\n")
		for _, step := range strings.Split(block, "$ ")[1:] {
			line, want, _ := strings.Cut(step, "\n")
			in := ""
			if before, after, piped := strings.Cut(line, " | "); piped {
				_, in, _ = strings.Cut(before, " ")
				in = strings.ReplaceAll(strings.Trim(in, "'"), `\n`, "\n")
				line = after
			}
			args := strings.ReplaceAll(strings.TrimPrefix(line, "thalweg "), "'", "")
			require.Equal(t, want, works(t, in, args+at), line)
		}
	}
}
