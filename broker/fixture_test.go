package broker_test

import (
	"archive/zip"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
)

var writeFixture = flag.Bool("write-fixture", false, "write a data directory of the tested build into testdata")

const fixture = "testdata/checkpoint-2.zip" // after the version of its checkpoints

// makeFixture fills a data directory with everything that has to last.
func makeFixture(t *testing.T, dir string) {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: dir, Clock: brokertest.NewClock()})
	require.NoError(t, err)
	createTopic(t, b, 2, "t")
	topicWith(t, b, "table", "cleanup.policy", "compact", "retention.ms", "1234567")
	done := newRawProducer(t, b, "done")
	require.NoError(t, done.produce(0, "committed"))
	require.NoError(t, done.commitOffset("g", 5))
	require.NoError(t, done.end(true, 5))
	require.NoError(t, done.produce(0, "aborted"))
	require.NoError(t, done.end(false, 5))
	require.NoError(t, put(t, b, "table", "row", brokertest.NewClock().Now()))
	require.NoError(t, commitBoth(t, b, 5, 7))
	_, err = joinAlone(t, b, "members")
	require.NoError(t, err)
	open := newRawProducer(t, b, "open")
	require.NoError(t, open.produce(1, "undecided"))
	require.NoError(t, open.commitOffset("g", 9))
	require.NoError(t, b.Close())
}

// A data directory of an earlier build opens with all records, offsets, groups and open transactions, and continues.
func TestTheDataDirectoryOfAnEarlierBuildOpens(t *testing.T) {
	if *writeFixture {
		dir := t.TempDir()
		makeFixture(t, dir)
		require.NoError(t, os.Remove(filepath.Join(dir, "LOCK")))
		file, err := os.Create(fixture)
		require.NoError(t, err)
		archive := zip.NewWriter(file)
		require.NoError(t, archive.AddFS(os.DirFS(dir)))
		require.NoError(t, archive.Close())
		require.NoError(t, file.Close())
	}
	dir := t.TempDir()
	archive, err := zip.OpenReader(fixture)
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, archive))
	require.NoError(t, archive.Close())
	for range 2 {
		b, err := broker.Open(broker.Config{Dir: dir, Clock: brokertest.NewClock()})
		require.NoError(t, err)
		require.Zero(t, b.Stats().OfflinePartitions)
		require.Equal(t, []string{"committed"}, committedIn(t, b, 0))
		require.Empty(t, committedIn(t, b, 1))
		require.EqualValues(t, 1, fetchOne(t, b, 1, direct.ReadUncommitted).HighWatermark)
		_, end := span(t, b, "table")
		require.EqualValues(t, 1, end)
		state, err := stateOf(t, b)
		require.NoError(t, err)
		require.Equal(t, `t: 2 partitions, retention.ms=604800000, segment.ms=604800000; g: 0=5; g: 1=7; `+
			`members: "all of it"`, state)
		require.Equal(t, "1234567", configsOf(t, brokertest.Client(t, b), ofTopic, "table")["retention.ms"][0].value)
		require.NoError(t, b.Close())
	}
	b, err := broker.Open(broker.Config{Dir: dir, Clock: brokertest.NewClock()})
	require.NoError(t, err)
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"open"}
	open := ask[*kmsg.DescribeTransactionsResponse](t, b, describe).TransactionStates[0]
	require.Equal(t, "Ongoing", open.State)
	p := &rawProducer{
		t: t, b: b, client: brokertest.Client(t, b), id: "open", pid: open.ProducerID, epoch: open.ProducerEpoch,
		sequence: map[int32]int32{1: 1},
	}
	require.NoError(t, p.produce(1, "more"))
	require.NoError(t, p.end(true, 5))
	require.Equal(t, []string{"undecided", "more"}, committedIn(t, b, 1))
	offsets, err := kadm.NewClient(p.client).FetchOffsets(within(t), "g")
	require.NoError(t, err)
	committed, ok := offsets.Lookup("t", 0)
	require.True(t, ok)
	require.EqualValues(t, 9, committed.At)
	require.NoError(t, b.Close())
}
