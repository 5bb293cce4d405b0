package broker_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
)

// journal is what a broker logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// lines returns the lines with all the parts.
func (j *journal) lines(parts ...string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for line := range strings.Lines(j.text.String()) {
		has := true
		for _, part := range parts {
			has = has && strings.Contains(line, part)
		}
		if has {
			found = append(found, line)
		}
	}
	return found
}

func (j *journal) logTo() brokertest.Option {
	return brokertest.Configure(func(cfg *broker.Config) { cfg.Logger = slog.New(slog.NewTextHandler(j, nil)) })
}

// topicWith makes a topic of one partition.
func topicWith(t *testing.T, b *broker.Broker, topic string, configs ...string) {
	t.Helper()
	set := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = &configs[i+1]
	}
	_, err := kadm.NewClient(brokertest.Client(t, b)).CreateTopic(within(t), 1, 1, set, topic)
	require.NoError(t, err)
}

// put appends a record with the timestamp.
func put(t *testing.T, b *broker.Broker, topic, value string, at time.Time) error {
	t.Helper()
	client := brokertest.Client(t, b)
	defer client.Close()
	r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(value), Timestamp: at}
	return client.ProduceSync(within(t), r).FirstErr()
}

// span returns where the records of a partition begin and end.
func span(t *testing.T, b *broker.Broker, topic string) (start, end int64) {
	t.Helper()
	results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{
		Partitions: []direct.FetchPartition{{Topic: topic, Offset: 0}},
	})
	require.NoError(t, err)
	return results[0].LogStartOffset, results[0].HighWatermark
}

func TestRetentionCountsFromTheAppend(t *testing.T) {
	clock, seen := brokertest.NewClock(), &journal{}
	b := brokertest.New(t, brokertest.At(clock), seen.logTo())
	topicWith(t, b, "past")
	topicWith(t, b, "future", "message.timestamp.after.max.ms", "9223372036854775807")
	topicWith(t, b, "strict")
	past, future := clock.Now().AddDate(0, 0, -60), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 3 {
		require.NoError(t, put(t, b, "past", "v", past))
		require.NoError(t, put(t, b, "future", "v", future))
		require.NoError(t, put(t, b, "future", "v", clock.Now()))
	}
	require.ErrorIs(t, put(t, b, "strict", "v", future), kerr.InvalidTimestamp)
	ahead := seen.lines("level=WARN", "topic=future", "partition=0", "offset=0", "timestamp=2100-01-01")
	require.Len(t, ahead, 1, "once a day")

	clock.Advance(5 * time.Minute)
	clock.Advance(6 * 24 * time.Hour)
	for topic, n := range map[string]int64{"past": 3, "future": 6} {
		start, end := span(t, b, topic)
		require.EqualValues(t, 0, start, topic)
		require.Equal(t, n, end, topic)
	}
	require.NoError(t, put(t, b, "future", "v", future))
	require.Len(t, seen.lines("level=WARN", "topic=future"), 2)
	require.Empty(t, seen.lines("retention"))

	clock.Advance(24*time.Hour + time.Minute)
	start, _ := span(t, b, "past")
	require.EqualValues(t, 3, start)
	start, _ = span(t, b, "future")
	require.EqualValues(t, 0, start, "the segment's last append is a day old")
	newest := "newest=" + past.UTC().Format("2006-01-02")
	require.Len(t, seen.lines("level=INFO", "topic=past", "partition=0", "first=0", "last=2", newest), 1)
	clock.Advance(6*24*time.Hour + time.Minute)
	start, end := span(t, b, "future")
	require.Equal(t, end, start, "a record of the future keeps nothing for ever")
}

func TestClockStepsNeitherEmptyNorKeepATopic(t *testing.T) {
	for _, step := range []time.Duration{7 * time.Hour, -7 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			clock := brokertest.NewClock()
			b := brokertest.New(t, brokertest.At(clock))
			topicWith(t, b, "t", "retention.ms", "3600000")
			require.NoError(t, put(t, b, "t", "v", clock.Now()))
			clock.Advance(10 * time.Minute)
			clock.Jump(step)
			require.NoError(t, put(t, b, "t", "v", clock.Now()))
			clock.Advance(10 * time.Minute)
			clock.Jump(-step)
			clock.Advance(45 * time.Minute)
			start, end := span(t, b, "t")
			require.Equal(t, [2]int64{0, 2}, [2]int64{start, end})
			clock.Advance(10 * time.Minute)
			start, _ = span(t, b, "t")
			require.EqualValues(t, 2, start)
		})
	}
}

func TestRestartsNeitherEmptyNorKeepATopic(t *testing.T) {
	clock, fs := brokertest.NewClock(), vfs.NewMem()
	open := func() *broker.Broker {
		b, err := broker.Open(broker.Config{FS: fs, Clock: clock})
		require.NoError(t, err)
		return b
	}
	b := open()
	topicWith(t, b, "t", "retention.ms", "600000", "message.timestamp.after.max.ms", "9223372036854775807")
	past := clock.Now().AddDate(-3, 0, 0)
	for i := range 200 {
		if i == 0 || i == 20 {
			require.NoError(t, put(t, b, "t", "v", past.AddDate(6*i, 0, 0)))
		}
		clock.Advance(3 * time.Second)
		if i == 60 {
			clock.Jump(-2 * time.Hour) // while it is down
		}
		require.NoError(t, b.Close())
		b = open()
	}
	start, end := span(t, b, "t")
	require.Equal(t, [2]int64{0, 2}, [2]int64{start, end}, "ten minutes after the first append, nine after the last")
	for range 21 {
		clock.Advance(3 * time.Second)
		require.NoError(t, b.Close())
		b = open()
	}
	clock.Advance(3 * time.Second)
	start, _ = span(t, b, "t")
	require.EqualValues(t, 2, start)
	require.NoError(t, b.Close())
}

// The age of the active segment outlives restarts: segment.ms seals it, and then it is compacted.
func TestSegmentsRollByTimeAcrossRestarts(t *testing.T) {
	clock, fs := brokertest.NewClock(), vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs), brokertest.At(clock))
	topicWith(t, b, "t", "cleanup.policy", "compact", "segment.ms", "60000", "min.cleanable.dirty.ratio", "0")
	client := brokertest.Client(t, b)
	for range 20 {
		r := &kgo.Record{Topic: "t", Key: []byte("k"), Value: []byte("v"), Timestamp: clock.Now()}
		require.NoError(t, client.ProduceSync(within(t), r).FirstErr())
	}
	for range 10 {
		clock.Advance(40 * time.Second)
		require.NoError(t, b.Close())
		b = brokertest.New(t, brokertest.On(fs), brokertest.At(clock))
	}
	clock.Advance(40 * time.Second)
	left := consume(t, brokertest.Client(t, b, kgo.ConsumeTopics("t"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 1)
	require.EqualValues(t, 19, left[0].Offset)
}

// A data directory from before ages were stored: everything is there, and the times of its files are its ages, once.
func TestAnOlderDataDirectoryOpens(t *testing.T) {
	dir, clock := t.TempDir(), brokertest.NewClock()
	archive, err := zip.OpenReader("testdata/before-ages.zip")
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, archive))
	require.NoError(t, archive.Close())
	age := func(base int, days int) {
		at := clock.Now().AddDate(0, 0, -days)
		require.NoError(t, os.Chtimes(filepath.Join(dir, fmt.Sprintf("orders-0/%020d.log", base)), at, at))
	}
	for base, days := range []int{8, 8, 3, 3} {
		age(base, days)
	}
	open := func() *broker.Broker {
		b, err := broker.Open(broker.Config{Dir: dir, Clock: clock})
		require.NoError(t, err)
		return b
	}
	b := open()
	start, end := span(t, b, "orders")
	require.Equal(t, [2]int64{0, 4}, [2]int64{start, end})
	start, end = span(t, b, "table")
	require.Equal(t, [2]int64{0, 4}, [2]int64{start, end})
	require.Equal(t, []string{"committed"}, committedIn(t, b, 0))
	admin := kadm.NewClient(brokertest.Client(t, b))
	offsets, err := admin.FetchOffsets(within(t), "g")
	require.NoError(t, err)
	committed, ok := offsets.Lookup("orders", 0)
	require.True(t, ok)
	require.EqualValues(t, 3, committed.At)
	open2 := kmsg.NewPtrDescribeTransactionsRequest()
	open2.TransactionalIDs = []string{"tx"}
	described, err := open2.RequestWith(within(t), brokertest.Client(t, b))
	require.NoError(t, err)
	require.Equal(t, "Ongoing", described.TransactionStates[0].State)

	clock.Advance(time.Minute)
	start, _ = span(t, b, "orders")
	require.EqualValues(t, 2, start)
	require.NoError(t, b.Close())
	for base := 2; base < 4; base++ {
		age(base, 30) // a copy, say: it changes nothing any more
	}
	b = open()
	clock.Advance(time.Minute)
	start, _ = span(t, b, "orders")
	require.EqualValues(t, 2, start)
	clock.Advance(4 * 24 * time.Hour)
	start, _ = span(t, b, "orders")
	require.EqualValues(t, 4, start)
	require.NoError(t, b.Close())
}
