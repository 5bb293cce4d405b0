package main

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
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
	require.ErrorContains(t, start("--partitions -1"), "--partitions is -1, must be 1 to 20000")
	require.ErrorContains(t, start("--partitions 0"), "--partitions is 0: leave the flag out for the default")
	require.ErrorContains(t, start("--offset-retention 0s"), "--offset-retention is 0s")
	require.NoError(t, start("--initial-rebalance-delay 0s"))
	require.NoError(t, start("--max-busy-bytes 67108864 --max-request-bytes 1048576"))
	require.ErrorContains(t, start("--max-request-bytes 5"), "--max-request-bytes is 5, must be 1024 to")
	require.ErrorContains(t, start("--min-session-timeout 2h"),
		"--min-session-timeout 2h0m0s exceeds --max-session-timeout 30m0s")
	require.NoError(t, start("--min-session-timeout 100ms --idle-connection-max 1h "+
		"--compaction-bytes-per-second-max 2000000"))
	require.ErrorContains(t, start("--min-session-timeout -1s"), "--min-session-timeout is -1s")
	require.ErrorContains(t, start("--idle-connection-max -1s"), "--idle-connection-max is -1s")
	require.ErrorContains(t, start("--compaction-bytes-per-second-max 1000"), "--compaction-bytes-per-second-max is 1000")
}

// Each setting of a broker has a flag, or a reason to have none.
func TestSettingsHaveFlags(t *testing.T) {
	reasons := map[string]string{
		"FS":            "the server's files are the operating system's",
		"Clock":         "the server's clock is the machine's",
		"Logger":        "--verbose",
		"MaxBatchBytes": "--topic-default max.message.bytes=…",
		"SegmentBytes":  "--topic-default segment.bytes=…",
	}
	flags := brokerCommand().Flags()
	config := reflect.TypeFor[broker.Config]()
	for i := range config.NumField() {
		field := config.Field(i).Name
		flag, has := brokerFlags[field]
		require.NotEqual(t, has, reasons[field] != "", "%s: a flag, or a reason", field)
		if has {
			require.NotNil(t, flags.Lookup(flag), "%s: flag %s", field, flag)
		}
	}
	require.Equal(t, config.NumField(), len(brokerFlags)+len(reasons), "no setting that is gone")
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
