package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/verify/readme"
)

// The README's commands against its broker, but for the address and the directory.
func TestReadmeCommands(t *testing.T) {
	const tool = "go run ./cmd/thalweg "
	start := readme.Commands(t, "broker")
	require.Len(t, start, 1)
	args, ours := strings.CutPrefix(start[0], tool)
	require.True(t, ours, start[0])

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	root := command()
	root.SetArgs(longFlags(root, append(strings.Fields(args), "-listen", "127.0.0.1:0", "-dir", t.TempDir())))
	root.SetOut(w)
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	addr, _, found := strings.Cut(strings.TrimPrefix(line, "listening on "), ",")
	require.True(t, found, line)

	var out string
	for _, line := range readme.Commands(t, "commands") {
		in := ""
		if echo, after, piped := strings.Cut(line, " | "); piped {
			in, line = strings.Trim(strings.TrimPrefix(echo, "echo "), "'")+"\n", after
		}
		args, ours := strings.CutPrefix(line, tool)
		require.True(t, ours, line)
		out = works(t, in, args+" -brokers "+addr)
	}
	require.Equal(t, "anna:3 apples\n", out)
	cancel()
	require.NoError(t, <-done)
}
