package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// held keeps the broker from renaming a directory of a deleted partition until it is released.
func held(dir string) (fault *faultfs.Fault, reached <-chan struct{}, release func()) {
	there, going := make(chan struct{}), make(chan struct{})
	fault = failing(dir, nil, errorfs.OpRename)
	fault.Before = func() {
		close(there)
		<-going
	}
	return fault, there, func() { close(going) }
}

func deleteTopic(t *testing.T, b *broker.Broker, name string) error {
	t.Helper()
	done, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), name)
	require.NoError(t, err)
	return done[name].Err
}

// A client has its answer before the files are gone: a topic of thousands of partitions has many. Nobody sees the topic
// from then on, and other topics come and go. A new topic of the same name waits for the files.
func TestADeletionIsAnsweredBeforeTheFilesAreGone(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 3, "t")
	createTopic(t, b, 1, "later")
	require.NoError(t, put(t, b, "t", "old", time.Now()))
	fault, reached, release := held("broker/t-1")
	fs.Fail(fault)

	require.NoError(t, deleteTopic(t, b, "t"))
	<-reached
	require.Equal(t, kerr.UnknownTopicOrPartition, deleteTopic(t, b, "t"))
	require.Zero(t, partitions(t, b, "t"))
	dirs, err := kadm.NewClient(brokertest.Client(t, b)).DescribeAllLogDirs(within(t), nil)
	require.NoError(t, err)
	for _, described := range dirs {
		for _, dir := range described {
			require.NotContains(t, dir.Topics, "t")
		}
	}
	createTopic(t, b, 2, "other")
	require.NoError(t, deleteTopic(t, b, "later"))
	createTopic(t, b, 1, "later") // its removal waits for its turn, and need not
	require.Contains(t, directories(t, fs, "t"), "t-1")

	made := make(chan error, 1)
	go func() {
		_, err := kadm.NewClient(brokertest.Client(t, b)).CreateTopic(within(t), 3, 1, nil, "t")
		made <- err
	}()
	release()
	require.NoError(t, <-made)
	require.Equal(t, 3, partitions(t, b, "t"))
	results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{Partitions: []direct.FetchPartition{{Topic: "t"}}})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.Zero(t, results[0].HighWatermark)
	broker.EndRemovals(b)
	require.ElementsMatch(t, []string{"t-0", "t-1", "t-2"}, directories(t, fs, "t"))
}

// A broker that is closed, or loses power, in the middle of a removal goes on with it at the next start.
func TestARemovalGoesOnAfterAStop(t *testing.T) {
	for _, powerCut := range []bool{false, true} {
		mem := vfs.NewCrashableMem()
		fs := faultfs.New(mem)
		b, err := broker.Open(broker.Config{FS: fs})
		require.NoError(t, err)
		createTopic(t, b, 4, "t")
		fault, reached, release := held("broker/t-1")
		fs.Fail(fault)
		require.NoError(t, deleteTopic(t, b, "t"))
		<-reached
		left := vfs.FS(mem)
		if powerCut {
			left = mem.CrashClone(vfs.CrashCloneCfg{})
		}
		closed := make(chan error, 1)
		go func() { closed <- b.Close() }()
		require.Eventually(t, func() bool {
			_, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{})
			return errors.Is(err, broker.ErrClosed)
		}, patience, time.Millisecond)
		release()
		require.NoError(t, <-closed)
		require.NotEmpty(t, directories(t, left, "t"))

		seen := &journal{}
		b = brokertest.New(t, brokertest.On(left), seen.logTo())
		require.Zero(t, partitions(t, b, "t"))
		broker.EndRemovals(b)
		require.Empty(t, directories(t, left, "t"))
		require.Empty(t, seen.lines("moved aside"))
		createTopic(t, b, 1, "t")
	}
}
