package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The defaults of topics are settings of the server, and checked before it takes the directory.
func TestDefaultsOfTopics(t *testing.T) {
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
}
