package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/cmd/thalweg/internal/workload"
)

// measured runs a workload of the broker alone, in small.
func measured(t *testing.T, line string) (r workload.Result) {
	t.Helper()
	t.Setenv(asCommand, "1")
	out := works(t, "", "bench "+line+" --sync never --warmup 10ms --measure 300ms --json")
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	require.NotEmpty(t, r.Checked)
	require.Positive(t, r.PerSecond)
	require.Positive(t, r.BrokerRSSMiB, "a broker in another process")
	require.Positive(t, r.Load.BrokerRSSMiB)
	return r
}

func TestBenchOfTheBrokerAlone(t *testing.T) {
	r := measured(t, "broker-produce --records 20000 --batch 5000")
	require.EqualValues(t, 20_000, r.Records)
	require.EqualValues(t, 6, r.Partitions)
	require.Equal(t, "never", r.Sync)
	require.Greater(t, r.Load.BatchRecords, 1.0)
	require.Less(t, r.Load.BatchRecords, 50.0, "of 100 bytes and more")
	require.Positive(t, r.Load.CeilingPerSecond)
	require.InDelta(t, r.PerSecond/r.Load.CeilingPerSecond, r.Load.OfCeiling, 1e-9)

	r = measured(t, "broker-consume --records 20000 --partitions 3")
	require.EqualValues(t, 20_000, r.Records)
	require.EqualValues(t, 3, r.Partitions)
	require.Positive(t, r.Load.CeilingPerSecond)

	r = measured(t, "broker-small")
	require.Positive(t, r.Records)
	require.Positive(t, r.LatencyMillis.P50)
	require.GreaterOrEqual(t, r.LatencyMillis.P99, r.LatencyMillis.P50)

	r = measured(t, "broker-e2e --rate 2000")
	require.EqualValues(t, 600, r.Records, "what was due in the measured time")
	require.Positive(t, r.LatencyMillis.P50)

	r = measured(t, "broker-many --topics 12 --records 2000")
	require.EqualValues(t, 2000, r.Records)
	require.EqualValues(t, 100, r.Partitions)
	require.Contains(t, r.Checked, "6000 records acknowledged, the offsets end there; 120 partitions")
	require.Positive(t, r.Load.IdleRSSMiB)
	require.Positive(t, r.Load.AlonePerSecond)
}

// A cluster's topics are deleted after the run, and its process is found by the port, where it is on this machine: here
// it is the test's own.
func TestBenchOfAClusterAlone(t *testing.T) {
	addr := serve(t)
	r := measured(t, "broker-produce --records 5000 --brokers "+addr)
	require.Empty(t, r.Sync, "unknown")
	require.Empty(t, works(t, "", "topics list -brokers "+addr))
}

func TestBenchOfTheBrokerRefuses(t *testing.T) {
	_, err := thalweg(t, "", "bench broker-small --brokers embedded")
	require.ErrorContains(t, err, "use --brokers process")
	_, err = thalweg(t, "", "bench broker-consume --filled")
	require.ErrorContains(t, err, "leave out --filled")
	profile := filepath.Join(t.TempDir(), "cpu")
	_, err = thalweg(t, "", "bench broker-small --cpuprofile "+profile)
	require.ErrorContains(t, err, "leave out --cpuprofile")
	_, err = thalweg(t, "", "bench count --broker-cpuprofile "+profile)
	require.ErrorContains(t, err, "leave out --broker-cpuprofile")
}

func TestProfileOfTheBroker(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "cpu")
	measured(t, "broker-produce --records 1000 --broker-cpuprofile "+profile)
	written, err := os.ReadFile(profile)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(written), "\x1f\x8b"), "a compressed profile")
}
