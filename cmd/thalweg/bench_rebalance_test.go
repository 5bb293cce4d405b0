package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/cmd/thalweg/internal/workload"
)

// Processes join, are killed, closed and replaced: each record counts once, and each task is in one kind of each event.
func TestBenchRebalance(t *testing.T) {
	t.Setenv(asCommand, "1")
	addr := serve(t, brokertest.Configure(func(c *broker.Config) { c.MinSessionTimeout = time.Second }))
	out := works(t, "", "bench rebalance --brokers "+addr+" --partitions 6 --processes 2 --standbys 1 --rate 600 "+
		"--warmup 100ms --measure 500ms --session 2s --workers 1 --json")
	var r workload.Result
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	require.Contains(t, r.Checked, "has one result")
	require.EqualValues(t, 6, r.Partitions)
	tasks := map[string]int{}
	longest := map[string]float64{}
	for _, s := range r.Rebalance.Standstills {
		tasks[s.Event] += s.Tasks
		longest[s.Event+" "+s.Kind] = s.MaxMillis
		require.LessOrEqual(t, s.MedianMillis, s.MaxMillis)
	}
	require.Equal(t, map[string]int{"none": 6, "join": 6, "kill": 6, "close": 6, "restart": 6}, tasks)
	require.Contains(t, longest, "kill process")
	require.Contains(t, longest, "restart process")

	for _, line := range []string{"--brokers embedded", "--filled", "--input a"} {
		_, err := thalweg(t, "", "bench rebalance "+line)
		require.ErrorContains(t, err, "rebalance", line)
	}
	_, err := thalweg(t, "", "bench rebalance --processes 1")
	require.ErrorContains(t, err, "--processes 2 or more")
}
