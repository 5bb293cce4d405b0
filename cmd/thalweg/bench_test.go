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

// asCommand makes the test's binary the thalweg command, for tests that start one.
const asCommand = "THALWEG_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestBenchWithABrokerInAProcessOfItsOwn(t *testing.T) {
	t.Setenv(asCommand, "1")
	out := works(t, "", "bench huge --brokers process --sync never --records 5000 --keys 700 --passes 2 --partitions 1,3 "+
		"--memory 402653184 --cache 1000000 --block-cache 2000000 --json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	for i, line := range lines {
		var r workload.Result
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		require.EqualValues(t, []int{1, 3}[i], r.Partitions)
		require.EqualValues(t, 10_000, r.Records)
		require.EqualValues(t, 699, r.Results, "keys that were drawn")
		require.Contains(t, r.Checked, "699 rows")
		require.Positive(t, r.BrokerRSSMiB)
	}
}

// The data sets are generated again for the comparison, so that they are not in memory while the application runs.
func TestBenchGeneratesItsDataAgain(t *testing.T) {
	t.Setenv(asCommand, "1")
	out := works(t, "", "bench table-join --brokers process --sync never --records 3000 --garbage 64 --json")
	var r workload.Result
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.EqualValues(t, 3000, r.Results)
	require.Contains(t, r.Checked, "those of the hand-written loop")
	require.Positive(t, r.TimesByHand)
}

// A second run goes on where the first ended: it has nothing left to do, and the rows are still there.
func TestBenchGoesOn(t *testing.T) {
	addr := serve(t)
	dir := t.TempDir()
	line := "bench large --brokers " + addr + " --records 3000 --keys 500 --application goes-on --state " + dir
	for range 2 {
		require.Contains(t, works(t, "", line), "rows, the last records of the data set")
		require.DirExists(t, filepath.Join(dir, "goes-on"))
	}
	_, err := thalweg(t, "", "bench large --application goes-on --records 10")
	require.ErrorContains(t, err, "state directory")
}

// A run that fails leaves on a cluster the data sets that it has filled, and nothing else.
func TestBenchThatFailsLeavesNoTopics(t *testing.T) {
	addr := serve(t)
	for _, test := range []struct{ line, why, left string }{
		{"table-join --keys 5", "cannot be made with other keys", ""},
		{"broker-small --warmup 1ms --measure 1ns", "use a longer --measure", ""},
		{"broker-many --batch 1", "max record batch bytes", ""},
		{"latency --memory 1", "MemoryBytesMax", ""},
		{"large --memory 1 --records 10", "MemoryBytesMax", "big-1-10"},
		{"restore --memory 1 --records 10", "MemoryBytesMax", "uniq-1-10"},
	} {
		_, err := thalweg(t, "", "bench "+test.line+" --brokers "+addr)
		require.ErrorContains(t, err, test.why, test.line)
		left := strings.Fields(works(t, "", "topics list -brokers "+addr))
		if test.left == "" {
			require.Empty(t, left, test.line)
			continue
		}
		require.Equal(t, test.left, left[0], test.line)
		works(t, "", "topics delete "+test.left+" -brokers "+addr)
		require.Empty(t, works(t, "", "topics list -brokers "+addr), test.line)
	}
}
