package broker_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/faultfs"
)

// heldRemovals is a file system in which directories of deleted partitions are removed only after release.
func heldRemovals(mem vfs.FS) (fs vfs.FS, release func()) {
	released := make(chan struct{})
	fs = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpRemoveAll && strings.HasSuffix(op.Path, ".deleted") {
			<-released
		}
		return nil
	}))
	return fs, sync.OnceFunc(func() { close(released) })
}

// A deletion is answered, and a topic of the same name made, before the files are gone. Nothing counts them.
func TestADeletionIsAnsweredBeforeItsFilesAreGone(t *testing.T) {
	mem := vfs.NewMem()
	fs, release := heldRemovals(mem)
	t.Cleanup(release)
	b := brokertest.New(t, brokertest.On(fs))
	admin := kadm.NewClient(brokertest.Client(t, b))
	for range 3 {
		createTopic(t, b, 2, "t")
		require.NoError(t, put(t, b, "t", "old", time.Now()))
		deleted, err := admin.DeleteTopics(within(t), "t")
		require.NoError(t, err)
		require.NoError(t, deleted["t"].Err)
	}
	require.Zero(t, partitions(t, b, "t"))
	stats := b.Stats()
	require.Equal(t, 2, stats.Topics, "the broker's own")
	require.Equal(t, 2, stats.Partitions)
	dirs, err := admin.DescribeAllLogDirs(within(t), nil)
	require.NoError(t, err)
	dirs.Each(func(d kadm.DescribedLogDir) { require.NotContains(t, d.Topics, "t") })
	names, err := mem.List("broker")
	require.NoError(t, err)
	left := 0
	for _, name := range names {
		if strings.HasPrefix(name, "t-") {
			require.True(t, strings.HasSuffix(name, ".deleted"), name)
			left++
		}
	}
	require.Equal(t, 6, left)

	createTopic(t, b, 1, "t")
	p := plain(t, b)
	require.NoError(t, p.send(0, p.batch(0, "new")).Err)
	require.Equal(t, []string{"new"}, committedIn(t, b, 0))
	release()
	require.Equal(t, []string{"t-0"}, directories(t, mem, "t"))
	require.NoError(t, b.Close())
}

// A close comes between two directories, and the next start removes the others.
func TestAStartGoesOnRemoving(t *testing.T) {
	mem := vfs.NewMem()
	fs, release := heldRemovals(mem)
	t.Cleanup(release)
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 10, "t")
	_, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "t")
	require.NoError(t, err)
	closed := make(chan error)
	go func() { closed <- b.Close() }()
	<-broker.Stopping(b)
	release()
	require.NoError(t, <-closed)
	names, err := mem.List("broker")
	require.NoError(t, err)
	left := 0
	for _, name := range names {
		if strings.HasPrefix(name, "t-") {
			left++
		}
	}
	require.GreaterOrEqual(t, left, 9)
	report, err := broker.Check(mem, "broker")
	require.NoError(t, err)
	require.False(t, report.Damaged())
	require.Len(t, report.Findings, left)
	require.Contains(t, report.Findings[0].Text, "the next start removes it")
	b = brokertest.New(t, brokertest.On(mem))
	require.Empty(t, directories(t, mem, "t"))
	require.NoError(t, b.Close())
}

// Once a deletion is answered, the topic stays deleted whatever a power cut takes, and its files go.
func TestAPowerCutDuringARemoval(t *testing.T) {
	rnd := randomSource(t)
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex
	var answered bool
	var cuts []*vfs.MemFS
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if answered && faultfs.Writes(op.Kind) {
			for _, percent := range []int{0, 50, 100} {
				cuts = append(cuts, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rnd}))
			}
		}
		return nil
	}))
	held, release := heldRemovals(fs)
	t.Cleanup(release)
	b := brokertest.New(t, brokertest.On(held))
	createTopic(t, b, 3, "t")
	require.NoError(t, put(t, b, "t", "old", time.Now()))
	_, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "t")
	require.NoError(t, err)
	mu.Lock()
	answered = true
	mu.Unlock()
	createTopic(t, b, 1, "t")
	release()
	require.Equal(t, []string{"t-0"}, directories(t, mem, "t"))
	mu.Lock()
	answered = false
	mu.Unlock()
	require.NotEmpty(t, cuts)
	for _, left := range cuts {
		seen := &journal{}
		b := brokertest.New(t, brokertest.On(left), seen.logTo())
		dirs := withoutStrays(t, left, directories(t, left, "t"))
		require.Len(t, dirs, partitions(t, b, "t"))
		if len(dirs) > 0 {
			require.Empty(t, committedIn(t, b, 0))
		}
		require.NoError(t, b.Close())
	}
}

// Topics whose directories can't be renamed, since the disk has no room for a name, are deleted all the same.
func TestADeletionNeedsNoRoom(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 3, "t")
	fs.Fail(failing("t-", syscall.ENOSPC, errorfs.OpRename))
	deleted, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "t")
	require.NoError(t, err)
	require.NoError(t, deleted["t"].Err)
	require.Empty(t, directories(t, fs, "t"))
	createTopic(t, b, 1, "t")
}

// A topic with the longest name that is allowed is made, deleted, and its directory moved aside: the names that its
// directories get have their place on the disk.
func TestTheLongestName(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) { cfg.Dir = dir }))
	long := strings.Repeat("a", 249)
	createTopic(t, b, 2, long)
	deleted, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), long)
	require.NoError(t, err)
	require.NoError(t, deleted[long].Err)
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "aaa*"))
		return err == nil && len(left) == 0
	}, time.Minute, time.Millisecond)
	stray := filepath.Join(dir, long+"-0")
	require.NoError(t, os.Mkdir(stray, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(stray, "00000000000000000000.log"), nil, 0o600))
	createTopic(t, b, 1, long)
	left, err := filepath.Glob(filepath.Join(dir, "aaa*-stray"))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// Topics of one request are deleted together, and one that it names twice is unknown the second time.
func TestTopicsAreDeletedTogether(t *testing.T) {
	mem := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(mem))
	for _, name := range []string{"t-a", "t-b"} {
		createTopic(t, b, 2, name)
		require.NoError(t, commitOffset(t, b, "g", name, 0, 5))
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 6
	for _, name := range []string{"t-a", "none", "t-b", "t-a", "__consumer_offsets"} {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, topic)
	}
	var codes []int16
	for _, topic := range ask[*kmsg.DeleteTopicsResponse](t, b, req).Topics {
		codes = append(codes, topic.ErrorCode)
	}
	unknown := kerr.UnknownTopicOrPartition.Code
	require.Equal(t, []int16{0, unknown, 0, unknown, kerr.InvalidTopicException.Code}, codes)
	requireNoOffsets(t, b)
	require.Empty(t, directories(t, mem, "t"))
	require.Equal(t, 2, b.Stats().Topics)
}
