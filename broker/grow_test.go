package broker_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// directories returns the names of a topic's directories, with what the broker may have put behind them, once it has
// removed those of deleted partitions.
func directories(t *testing.T, fs vfs.FS, topic string) (found []string) {
	t.Helper()
	require.Eventually(t, func() bool {
		names, err := fs.List("broker")
		require.NoError(t, err)
		found = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, topic+"-") })
		return !slices.ContainsFunc(found, func(name string) bool { return strings.HasSuffix(name, ".deleted") })
	}, time.Minute, time.Millisecond)
	return found
}

// partitions returns how many partitions a topic has, 0 without the topic.
func partitions(t *testing.T, b *broker.Broker, topic string) int {
	t.Helper()
	topics, err := kadm.NewClient(brokertest.Client(t, b)).ListTopics(within(t))
	require.NoError(t, err)
	if !topics.Has(topic) {
		return 0
	}
	require.NoError(t, topics[topic].Err)
	return len(topics[topic].Partitions)
}

func TestHalfATopicLeavesNoTrace(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	broken := failing("big-4", syscall.EMFILE, errorfs.OpOpen, errorfs.OpMkdirAll)
	b, err := broker.Open(broker.Config{FS: fs})
	require.NoError(t, err)
	admin := kadm.NewClient(brokertest.Client(t, b))
	fs.Fail(broken)
	_, err = admin.CreateTopic(within(t), 8, 1, nil, "big")
	require.ErrorIs(t, err, kerr.KafkaStorageError)
	require.Zero(t, partitions(t, b, "big"))
	require.Empty(t, directories(t, fs, "big"))

	_, err = admin.CreateTopic(within(t), 2, 1, nil, "big")
	require.NoError(t, err)
	require.NoError(t, put(t, b, "big", "v", time.Now()))
	grown, err := admin.UpdatePartitions(within(t), 8, "big")
	require.NoError(t, err)
	require.ErrorIs(t, grown["big"].Err, kerr.KafkaStorageError)
	require.Equal(t, 2, partitions(t, b, "big"))
	require.Len(t, directories(t, fs, "big"), 2)
	require.NoError(t, b.Close())

	b, err = broker.Open(broker.Config{FS: fs})
	require.NoError(t, err)
	require.Equal(t, 2, partitions(t, b, "big"))
	fs.Fail(nil)
	grown, err = kadm.NewClient(brokertest.Client(t, b)).UpdatePartitions(within(t), 8, "big")
	require.NoError(t, err)
	require.NoError(t, grown["big"].Err)
	require.Equal(t, 8, partitions(t, b, "big"))
	consume(t, brokertest.Client(t, b, kgo.ConsumeTopics("big"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 1)
	require.NoError(t, b.Close())
}

// withoutStrays takes the directories that were moved aside and empty ones out of dirs; there are no records in them.
func withoutStrays(t *testing.T, fs vfs.FS, dirs []string) (others []string) {
	t.Helper()
	for _, dir := range dirs {
		files, err := fs.List(fs.PathJoin("broker", dir))
		require.NoError(t, err)
		if len(files) > 0 && !strings.HasSuffix(dir, "-stray") {
			others = append(others, dir)
			continue
		}
		for _, name := range files {
			if filepath.Ext(name) == ".log" {
				info, err := fs.Stat(fs.PathJoin("broker", dir, name))
				require.NoError(t, err)
				require.Zero(t, info.Size(), "%s/%s", dir, name)
			}
		}
	}
	return others
}

// A topic is deleted once that is recorded. Its directories are removed when that becomes possible, and until then no
// topic of the same name is made of them.
func TestADeletionIsFinishedLater(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	stuck := failing("t-1", syscall.EIO, errorfs.OpRename, errorfs.OpRemoveAll)
	b, err := broker.Open(broker.Config{FS: fs})
	require.NoError(t, err)
	createTopic(t, b, 3, "t")
	admin := kadm.NewClient(brokertest.Client(t, b))
	fs.Fail(stuck)
	deleted, err := admin.DeleteTopics(within(t), "t")
	require.NoError(t, err)
	require.NoError(t, deleted["t"].Err)
	require.Zero(t, partitions(t, b, "t"))
	require.Equal(t, []string{"t-1"}, directories(t, fs, "t"))
	_, err = admin.CreateTopic(within(t), 1, 1, nil, "t")
	require.ErrorIs(t, err, kerr.KafkaStorageError)
	require.NoError(t, b.Close())

	b, err = broker.Open(broker.Config{FS: fs})
	require.NoError(t, err)
	require.Equal(t, []string{"t-1"}, directories(t, fs, "t"), "no stray: it is known to be deleted")
	fs.Fail(nil)
	require.NoError(t, b.Close())
	b = brokertest.New(t, brokertest.On(fs))
	require.Empty(t, directories(t, fs, "t"))
	createTopic(t, b, 1, "t")
}

// A new topic does not take over what lies in its directory already.
func TestANewTopicBeginsEmpty(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 1, "t")
	require.NoError(t, put(t, b, "t", "v", time.Now()))
	_, err := vfs.Clone(fs, fs, "broker/t-0", "broker/copy-1")
	require.NoError(t, err)
	require.NoError(t, fs.MkdirAll("broker/photos-0", 0o755))
	f, err := fs.Create("broker/photos-0/cat.jpg", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	createTopic(t, b, 2, "copy")
	second := []direct.FetchPartition{{Topic: "copy", Partition: 1}}
	results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{Partitions: second})
	require.NoError(t, err)
	require.Zero(t, results[0].HighWatermark)
	require.Len(t, directories(t, fs, "copy"), 3, "what was there is moved aside")
	_, err = kadm.NewClient(brokertest.Client(t, b)).CreateTopic(within(t), 1, 1, nil, "photos")
	require.ErrorIs(t, err, kerr.KafkaStorageError)
	_, err = fs.Stat("broker/photos-0/cat.jpg")
	require.NoError(t, err)
}

// One partition that is damaged or cannot be opened is offline, and the rest serves.
func TestADamagedPartitionIsOffline(t *testing.T) {
	fs, seen := vfs.NewMem(), &journal{}
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 2, "t")
	for i := range int32(2) {
		p := plain(t, b)
		require.NoError(t, p.send(i, p.batch(i, fmt.Sprint("v", i))).Err)
	}
	require.NoError(t, b.Close())
	const file = "broker/t-0/00000000000000000000.log"
	appendBytes(t, fs, file, []byte{0}) // no clean close any more
	brokertest.Flip(t, fs, file, 65)

	b = brokertest.New(t, brokertest.On(fs), seen.logTo())
	require.Len(t, seen.lines("level=ERROR", "offline", "topic=t", "partition=0", file), 1)
	require.Equal(t, []string{"v1"}, committedIn(t, b, 1))
	p := plain(t, b)
	require.NoError(t, p.send(1, p.batch(1, "more")).Err)
	require.ErrorIs(t, p.send(0, p.batch(0, "more")).Err, kerr.KafkaStorageError)
	results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{Partitions: []direct.FetchPartition{{Topic: "t"}}})
	require.NoError(t, err)
	require.ErrorIs(t, results[0].Err, kerr.KafkaStorageError)
	admin := kadm.NewClient(brokertest.Client(t, b))
	topics, err := admin.ListTopics(within(t))
	require.NoError(t, err)
	require.Equal(t, []int32{1}, topics["t"].Partitions[0].OfflineReplicas)
	require.Empty(t, topics["t"].Partitions[1].OfflineReplicas)
	ends, err := admin.ListEndOffsets(within(t), "t")
	require.NoError(t, err)
	end, _ := ends.Lookup("t", 0)
	require.ErrorIs(t, end.Err, kerr.KafkaStorageError)
	require.NoError(t, commitOffset(t, b, "g", "t", 0, 1), "a commit needs no log of the partition")
	_, err = admin.DescribeAllLogDirs(within(t), nil)
	require.NoError(t, err)
	require.NoError(t, b.Close())

	brokertest.Flip(t, fs, file, 65) // restored
	b = brokertest.New(t, brokertest.On(fs))
	require.Equal(t, []string{"v0"}, committedIn(t, b, 0))
	require.NoError(t, b.Close())
	brokertest.Flip(t, fs, file, 65)
	appendBytes(t, fs, file, []byte{0})
	b = brokertest.New(t, brokertest.On(fs))
	deleted, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "t")
	require.NoError(t, err)
	require.NoError(t, deleted["t"].Err)
	require.Empty(t, directories(t, fs, "t"))
}

// A broker starts, reads, deletes and stops while its disk takes no more.
func TestStartOnAFullDisk(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			// The broker's own logs have room ahead: see log.Config.AheadBytes.
			full := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
				write := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt || op.Kind == errorfs.OpCreate
				if write && !(strings.Contains(op.Path, "__") && strings.HasSuffix(op.Path, ".log")) {
					return syscall.ENOSPC
				}
				return nil
			})}
			b := brokertest.New(t, brokertest.On(fs))
			createTopic(t, b, 1, "t")
			createTopic(t, b, 1, "u")
			p := plain(t, b)
			require.NoError(t, p.send(0, p.batch(0, "v")).Err)
			rest := fs
			if clean {
				require.NoError(t, b.Close())
			} else {
				rest = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: randomSource(t)})
				torn := p.batch(0, "half of this one was written")
				appendBytes(t, rest, "broker/t-0/00000000000000000000.log", torn[:len(torn)/2])
			}
			full.On()
			b, err := broker.Open(broker.Config{FS: errorfs.Wrap(rest, full)})
			require.NoError(t, err)
			require.Equal(t, []string{"v"}, committedIn(t, b, 0))
			p = plain(t, b)
			require.ErrorIs(t, p.send(0, p.batch(0, "w")).Err, kerr.KafkaStorageError)
			deleted, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "u")
			require.NoError(t, err)
			require.NoError(t, deleted["u"].Err)
			require.NoError(t, b.Close())
			b, err = broker.Open(broker.Config{FS: errorfs.Wrap(rest, full)})
			require.NoError(t, err)
			full.Off()
			p = plain(t, b)
			require.NoError(t, p.send(0, p.batch(0, "w")).Err, "it goes on when there is room")
			require.NoError(t, b.Close())
			b = brokertest.New(t, brokertest.On(rest))
			require.Equal(t, []string{"v", "w"}, committedIn(t, b, 0))
			require.Zero(t, partitions(t, b, "u"))
		})
	}
}

// limitedFS has no more than so many files open at a time.
type limitedFS struct {
	vfs.FS
	left atomic.Int64
}

func (fs *limitedFS) take(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if fs.left.Add(-1) < 0 {
		fs.left.Add(1)
		return nil, errors.Join(syscall.EMFILE, f.Close())
	}
	return &limitedFile{f, fs}, nil
}

func (fs *limitedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.take(fs.FS.Create(name, c))
}

func (fs *limitedFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	return fs.take(fs.FS.Open(name, o...))
}

func (fs *limitedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return fs.take(fs.FS.OpenReadWrite(name, c, o...))
}

func (fs *limitedFS) OpenDir(name string) (vfs.File, error) { return fs.take(fs.FS.OpenDir(name)) }

type limitedFile struct {
	vfs.File
	fs *limitedFS
}

func (f *limitedFile) Close() error {
	f.fs.left.Add(1)
	return f.File.Close()
}

// With fewer descriptors than partitions the broker starts, and serves all of them. A request that writes to more
// partitions than may have unsynced writes waits for the disk in between.
func TestFewerDescriptorsThanPartitions(t *testing.T) {
	const most, all = 16, 40
	mem := vfs.NewMem()
	fs := &limitedFS{FS: mem}
	fs.left.Store(most + 10) // besides those of partitions: the lock, the time, a directory, what is read at the start
	configure := brokertest.Configure(func(cfg *broker.Config) { cfg.MaxOpenFiles = most })
	b := brokertest.New(t, brokertest.On(fs), configure)
	createTopic(t, b, all, "t")
	for round := range 3 {
		plain(t, b).sendEach(0, all, fmt.Sprint(round))
		require.LessOrEqual(t, b.Stats().OpenFiles, most)
		require.NoError(t, b.Close())
		b = brokertest.New(t, brokertest.On(fs), configure)
		for i := range int32(all) {
			require.Len(t, committedIn(t, b, i), round+1)
		}
		require.LessOrEqual(t, b.Stats().OpenFiles, most)
	}
}
