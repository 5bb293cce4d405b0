package broker_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

var manyPartitions = flag.Int("partitions", 100, "partitions of TestManyPartitions; ulimit -n may be far below")

// A broker with many partitions on the disk makes and deletes them, opens and closes quickly, and has few files open.
func TestManyPartitions(t *testing.T) {
	const perRequest = 1000
	n := int32(*manyPartitions)
	dir := t.TempDir()
	open := func() *broker.Broker {
		began := time.Now()
		b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) {
			cfg.Dir = dir
			if n < perRequest {
				cfg.MaxOpenFiles = 32
			}
		}))
		t.Logf("opened in %v", time.Since(began))
		return b
	}
	b := open()
	done := stopwatch(t)
	createTopic(t, b, n, "t")
	done("made")
	for round := range 2 {
		p := plain(t, b)
		for first := int32(0); first < n; first += perRequest {
			p.sendEach(first, min(first+perRequest, n), fmt.Sprint(round))
		}
		t.Logf("%d open files", b.Stats().OpenFiles)
		began := time.Now()
		require.NoError(t, b.Close())
		t.Logf("closed in %v", time.Since(began))
		b = open()
		require.Zero(t, b.Stats().OfflinePartitions)
		for i := range n {
			require.EqualValues(t, round+1, fetchOne(t, b, i, direct.ReadUncommitted).HighWatermark)
		}
		require.Equal(t, []string{"0", "1"}[:round+1], committedIn(t, b, n-1))
	}
	done = stopwatch(t)
	_, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "t")
	require.NoError(t, err)
	done("deleted")
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "t-*"))
		return err == nil && len(left) == 0
	}, 5*time.Minute, 10*time.Millisecond)
	done("deleted with all files")
}

var logBytes = flag.Int64("log-bytes", 4<<20, "size of all logs of TestStopsAndStarts, which also takes -partitions")

// killedIn names the directory of the broker that TestStopsAndStarts kills. The broker runs in a process of its own.
const killedIn = "THALWEG_TEST_KILLED_IN"

// TestStopsAndStarts measures how long a broker with many partitions takes to stop, and to start after a stop and after
// a kill. make starts runs it with 10 GiB in 5,000 partitions. TMPDIR chooses the file system: what others do on the
// same one counts.
func TestStopsAndStarts(t *testing.T) {
	n := int32(*manyPartitions)
	if dir := os.Getenv(killedIn); dir != "" {
		b := openMany(t, dir, "after a stop")
		recordInEach(t, b, n)
		fmt.Println("written")
		select {}
	}
	dir := t.TempDir()
	b := openMany(t, dir, "with nothing")
	done := stopwatch(t)
	createTopic(t, b, n, "t")
	done("made")
	fillMany(t, b, n, *logBytes)
	closeMany(t, b, "written to")
	b = openMany(t, dir, "after a stop")
	closeMany(t, b, "unchanged")
	b = openMany(t, dir, "after a stop")
	recordInEach(t, b, n)
	closeMany(t, b, "with one more record in each partition")

	cmd := exec.Command(os.Args[0], "-test.run", "^TestStopsAndStarts$", "-test.v", "-partitions", fmt.Sprint(n))
	cmd.Env = append(os.Environ(), killedIn+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "written" {
		t.Log(lines.Text())
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	b = openMany(t, dir, "after a kill")
	require.Zero(t, b.Stats().OfflinePartitions)
	for i := range n {
		r := fetchOne(t, b, i, direct.ReadUncommitted)
		require.Equal(t, recordsIn(n, *logBytes)+2, r.HighWatermark, "partition %d", i)
	}
	closeMany(t, b, "after a kill, unchanged")
}

func openMany(t *testing.T, dir, how string) *broker.Broker {
	done := stopwatch(t)
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) { cfg.Dir = dir }))
	done("opened " + how)
	return b
}

func closeMany(t *testing.T, b *broker.Broker, how string) {
	done := stopwatch(t)
	require.NoError(t, b.Close())
	done("closed " + how)
}

// stopwatch returns a function that logs how long something took, and how much of the processors.
func stopwatch(t *testing.T) (done func(what string)) {
	began, before := time.Now(), processorTime(t)
	return func(what string) {
		t.Logf("%s: %v, processors %v", what, time.Since(began).Round(time.Millisecond),
			(processorTime(t) - before).Round(time.Millisecond))
	}
}

// processorTime is what this process has used of the processors.
func processorTime(t *testing.T) time.Duration {
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// recordInEach appends a record to each partition.
func recordInEach(t *testing.T, b *broker.Broker, n int32) {
	const perRequest = 1000
	p := plain(t, b)
	for first := int32(0); first < n; first += perRequest {
		p.sendEach(first, min(first+perRequest, n), "one more")
	}
}

// A batch of fillMany, and what its records hold.
const filledRecords, filledValueBytes = 600, 100

// recordsIn is how many records fillMany appends to each partition.
func recordsIn(n int32, bytes int64) int64 {
	return bytes / int64(n) / (filledRecords * filledValueBytes) * filledRecords
}

// fillMany appends about so many bytes to n partitions, in turns.
func fillMany(t *testing.T, b *broker.Broker, n int32, bytes int64) {
	done := stopwatch(t)
	builder := batch.NewBuilder(batch.None)
	for range filledRecords {
		builder.Append(1_700_000_000_000, nil, make([]byte, filledValueBytes), nil)
	}
	raw, err := builder.Finish(batch.NoProducer())
	require.NoError(t, err)
	const perRequest = 100
	for range recordsIn(n, bytes) / filledRecords {
		for first := int32(0); first < n; first += perRequest {
			var req direct.ProduceRequest
			for i := first; i < min(first+perRequest, n); i++ {
				req.Partitions = append(req.Partitions, direct.ProducePartition{
					Topic: "t", Partition: i, Batches: slices.Clone(raw),
				})
			}
			results, err := direct.Of(b).Produce(within(t), req)
			require.NoError(t, err)
			for i := range results {
				require.NoError(t, results[i].Err)
			}
		}
	}
	done("filled")
}
