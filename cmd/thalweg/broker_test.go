package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Settings of the server are checked before it takes the directory.
func TestSettingsOfTheServer(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it starts, and ends at once
	start := func(flags string) error {
		root := command()
		root.SetArgs(strings.Fields("broker --listen 127.0.0.1:0 --dir " + dir + " " + flags))
		root.SetOut(new(strings.Builder))
		root.SetErr(new(strings.Builder))
		return root.ExecuteContext(ctx)
	}
	require.NoError(t, start("--partitions 3 --topic-default log.retention.ms=1000 --topic-default segment.bytes=1048576"))
	require.ErrorContains(t, start("--topic-default retention=1000"), `there is no topic configuration "retention"`)
	require.ErrorContains(t, start("--topic-default segment.bytes=big"), "segment.bytes")
	require.ErrorContains(t, start("--partitions -1"), "Partitions")
	require.NoError(t, start("--min-session-timeout 100ms --idle-connection-max 1h "+
		"--compaction-bytes-per-second-max 2000000"))
	require.ErrorContains(t, start("--min-session-timeout -1s"), "MinSessionTimeout")
	require.ErrorContains(t, start("--idle-connection-max -1s"), "IdleConnectionMax")
	require.ErrorContains(t, start("--compaction-bytes-per-second-max 1000"), "CompactionBytesPerSecondMax")
}

// A directory at rest is checked, and damage makes the command fail.
func TestCheckOfADirectory(t *testing.T) {
	dir := t.TempDir()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	run := func(ctx context.Context, args ...string) error {
		root := command()
		root.SetArgs(append([]string{"broker"}, args...))
		root.SetOut(new(strings.Builder))
		root.SetErr(new(strings.Builder))
		return root.ExecuteContext(ctx)
	}
	require.NoError(t, run(stopped, "--listen", "127.0.0.1:0", "--dir", dir))
	require.NoError(t, run(t.Context(), "check", dir))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "__consumer_offsets-0")))
	require.ErrorContains(t, run(t.Context(), "check", dir), "1 findings are damage")
	backup := run(t.Context(), "backup", "--dir", dir, filepath.Join(t.TempDir(), "copy"))
	require.ErrorContains(t, backup, "no broker answers")
}
