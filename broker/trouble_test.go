package broker_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// failing is a fault of operations of some kinds on files whose path contains part.
func failing(part string, err error, kinds ...errorfs.OpKind) *faultfs.Fault {
	return &faultfs.Fault{
		Path: part, Err: err, Kind: func(kind errorfs.OpKind) bool { return slices.Contains(kinds, kind) },
	}
}

func plain(t *testing.T, b *broker.Broker) *rawProducer {
	return &rawProducer{t: t, b: b, pid: -1, epoch: -1, sequence: map[int32]int32{0: -1, 1: -1}}
}

func TestFullDisk(t *testing.T) {
	full := failing("t-0", syscall.ENOSPC, errorfs.OpFileWrite, errorfs.OpFileWriteAt)
	fs := faultfs.New(vfs.NewMem())
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 2, "t")
	one := func(partition int32, value string) error {
		p := plain(t, b)
		return p.send(partition, p.batch(partition, value)).Err
	}
	require.NoError(t, one(0, "before"))
	fs.Fail(full)
	require.ErrorIs(t, one(0, "lost"), kerr.KafkaStorageError)
	require.NoError(t, one(1, "elsewhere"), "one partition's trouble is not another's")
	require.Equal(t, []string{"before"}, committedIn(t, b, 0), "older records are still served")
	fs.Fail(nil)
	require.NoError(t, b.Close())
	b = brokertest.New(t, brokertest.On(fs))
	require.Equal(t, []string{"before"}, committedIn(t, b, 0))
	require.Equal(t, []string{"elsewhere"}, committedIn(t, b, 1))
	require.NoError(t, one(0, "after"))
}

// A full disk is said once a minute for each partition, with what to do, and nothing more is needed than room.
func TestAFullDiskIsSaidSparingly(t *testing.T) {
	path := "broker/t-0/00000000000000000000.log"
	full := failing("t-", &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}, errorfs.OpFileWrite,
		errorfs.OpFileWriteAt)
	disk, clock, seen := faultfs.New(vfs.NewMem()), brokertest.NewClock(), &journal{}
	b := brokertest.New(t, brokertest.On(disk), brokertest.At(clock), seen.logTo())
	createTopic(t, b, 2, "t")
	one := func(partition int32) error {
		p := plain(t, b)
		return p.send(partition, p.batch(partition, "v")).Err
	}
	disk.Fail(full)
	for range 5 {
		require.ErrorIs(t, one(0), kerr.KafkaStorageError)
	}
	lines := seen.lines("level=ERROR", "topic=t", "partition=0")
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], "free space, lower retention, or delete topics; writes resume by themselves")
	require.Equal(t, 1, strings.Count(lines[0], path), lines[0])
	require.ErrorIs(t, one(1), kerr.KafkaStorageError)
	require.Len(t, seen.lines("level=ERROR", "topic=t", "partition=1"), 1, "each partition has its line")
	clock.Advance(time.Minute)
	require.ErrorIs(t, one(0), kerr.KafkaStorageError)
	require.Len(t, seen.lines("level=ERROR", "topic=t", "partition=0"), 2)

	disk.Fail(nil)
	require.NoError(t, one(0))
	require.NoError(t, one(1))
	require.Equal(t, []string{"v"}, committedIn(t, b, 0))
}

func TestFailedFsyncIsNeverAcknowledged(t *testing.T) {
	broken := failing("t-0", errors.New("the disk is dying"), errorfs.OpFileSync, errorfs.OpFileSyncData,
		errorfs.OpFileSyncTo)
	fs := faultfs.New(vfs.NewMem())
	b, err := broker.Open(broker.Config{FS: fs})
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	createTopic(t, b, 1, "t")
	p := plain(t, b)
	require.NoError(t, p.send(0, p.batch(0, "good")).Err)
	fs.Fail(broken)
	require.ErrorIs(t, p.send(0, p.batch(0, "bad")).Err, kerr.KafkaStorageError)
	fs.Fail(nil)
	require.ErrorIs(t, p.send(0, p.batch(0, "worse")).Err, kerr.KafkaStorageError, "a failed fsync is not tried again")
}

func TestCoordinatorsWithoutADisk(t *testing.T) {
	full := failing("__", syscall.ENOSPC, errorfs.OpFileWrite, errorfs.OpFileWriteAt)
	fs := faultfs.New(vfs.NewMem())
	b, err := broker.Open(broker.Config{FS: fs})
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "v"))
	fs.Fail(full)
	resp := p.sendEnd(true, 4)
	require.ErrorIs(t, kerr.ErrorForCode(resp.ErrorCode), kerr.KafkaStorageError)
	require.Empty(t, committedIn(t, b, 0))
	require.Error(t, commitOffset(t, b, "g", "t", 0, 1))
	adm := kadm.NewClient(p.client)
	_, err = adm.CreateTopic(within(t), 1, 1, nil, "more")
	require.Error(t, err)
	topics, err := adm.ListTopics(within(t))
	require.NoError(t, err)
	require.False(t, topics.Has("more"))
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	b, err := broker.Open(broker.Config{Dir: dir})
	require.NoError(t, err)
	_, err = broker.Open(broker.Config{Dir: dir})
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "in use by this process")
	require.NoError(t, b.Close())
	b, err = broker.Open(broker.Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, b.Close())
}

// A directory that is not ours is left alone, even when its name looks like a partition's.
func TestForeignDirectoriesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "photos-2024")
	require.NoError(t, os.Mkdir(foreign, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "cat.jpg"), []byte("meow"), 0o644))
	b, err := broker.Open(broker.Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.FileExists(t, filepath.Join(foreign, "cat.jpg"))
}

func TestConfigIsChecked(t *testing.T) {
	_, err := broker.Open(broker.Config{Partitions: -1, MaxRequestBytes: 3, Sync: 9})
	require.ErrorContains(t, err, "Partitions")
	require.ErrorContains(t, err, "MaxRequestBytes")
	require.ErrorContains(t, err, "Sync")
}

// A deleted topic's directories go with it, also when the power is cut in the middle.
func TestDeletedTopicsLeaveNothing(t *testing.T) {
	rnd := randomSource(t)
	fs := vfs.NewCrashableMem()
	b := brokertest.New(t, brokertest.On(fs))
	for i := range 10 {
		name := fmt.Sprintf("t%d", i)
		createTopic(t, b, 2, name)
		produceValues(t, brokertest.Client(t, b), name, "old", 5)
		_, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), name)
		require.NoError(t, err)
		if i%3 == 0 {
			b, fs = cutPower(t, fs, rnd)
		}
		createTopic(t, b, 1, name)
		results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{Partitions: []direct.FetchPartition{{Topic: name}}})
		require.NoError(t, err)
		require.Zero(t, results[0].HighWatermark, "the new topic is empty")
	}
}

func TestTopicsAreChecked(t *testing.T) {
	b := brokertest.New(t)
	adm := kadm.NewClient(brokertest.Client(t, b))
	one := "1"
	bad := "often"
	for _, c := range []struct {
		topic      string
		partitions int32
		replicas   int16
		configs    map[string]*string
		want       *kerr.Error
		text       string
	}{
		{"a b", 1, 1, nil, kerr.InvalidTopicException, "a b"},
		{"..", 1, 1, nil, kerr.InvalidTopicException, ""},
		{"three", 1, 3, nil, kerr.InvalidReplicationFactor, "3"},
		{"none", 0, 1, nil, kerr.InvalidPartitions, "0"},
		{"small", 1, 1, map[string]*string{"segment.bytes": &one}, kerr.InvalidConfig, "segment.bytes"},
		{"odd", 1, 1, map[string]*string{"retention.ms": &bad}, kerr.InvalidConfig, "retention.ms"},
		{"unknown", 1, 1, map[string]*string{"no.such": &bad}, kerr.InvalidConfig, "no.such"},
		{"many", 100_000, 1, nil, kerr.PolicyViolation, "limit"},
	} {
		resp, err := adm.CreateTopic(within(t), c.partitions, c.replicas, c.configs, c.topic)
		require.ErrorIs(t, err, c.want, c.topic)
		require.Contains(t, resp.ErrMessage, c.text)
	}
	resp, err := adm.CreateTopic(within(t), -1, -1, nil, "fine")
	require.NoError(t, err)
	require.Equal(t, int32(1), resp.NumPartitions)
	_, err = adm.CreateTopic(within(t), -1, -1, nil, "fine")
	require.ErrorIs(t, err, kerr.TopicAlreadyExists)
	createTopic(t, b, 1, "a.b_c")
	resp, err = adm.CreateTopic(within(t), 1, 1, nil, "a_b.c")
	require.ErrorIs(t, err, kerr.InvalidTopicException)
	require.Contains(t, resp.ErrMessage, "a.b_c")
	createTopic(t, b, 1, "a-b_c")
	createTopic(t, b, 1, "a.b_c.d")
	_, err = adm.DeleteTopics(within(t), "__consumer_offsets")
	require.NoError(t, err)
	producer := brokertest.Client(t, b)
	err = producer.ProduceSync(within(t), &kgo.Record{Topic: "__consumer_offsets", Value: []byte("x")}).FirstErr()
	require.ErrorIs(t, err, kerr.InvalidTopicException)
}

// The coordinators' logs on a full disk are said once a minute, and what to do; a clean stop logs no error.
func TestCoordinatorsOnAFullDiskAreSaidSparingly(t *testing.T) {
	full := failing("__", syscall.ENOSPC, errorfs.OpFileWrite, errorfs.OpFileWriteAt)
	disk, clock, seen := faultfs.New(vfs.NewMem()), brokertest.NewClock(), &journal{}
	b := brokertest.New(t, brokertest.On(disk), brokertest.At(clock), seen.logTo())
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "v"))
	disk.Fail(full)
	try := func() {
		for range 5 {
			require.Error(t, commitOffset(t, b, "g", "t", 0, 1))
			require.ErrorIs(t, kerr.ErrorForCode(p.sendEnd(true, 4).ErrorCode), kerr.KafkaStorageError)
		}
	}
	try()
	require.Len(t, seen.lines("level=ERROR", "__transaction_state"), 1)
	require.Len(t, seen.lines("level=ERROR", "__consumer_offsets"), 1)
	require.Len(t, seen.lines("level=ERROR", "free space"), 2)
	clock.Advance(time.Minute)
	try()
	require.Len(t, seen.lines("level=ERROR", "__transaction_state", "broker: storage"), 2)
	disk.Fail(nil)
	require.NoError(t, commitOffset(t, b, "g", "t", 0, 1))
	require.NoError(t, p.end(true, 4))
	require.NoError(t, b.Close())
	require.Empty(t, seen.lines("level=ERROR", "coordinator: closed"))
}

// What meets a coordinator that is closed is the end of the broker, and no error.
func TestAStopIsNoError(t *testing.T) {
	seen := &journal{}
	b := brokertest.New(t, seen.logTo())
	require.NoError(t, b.Close())
	broker.EndTransactionLate(b)
	require.Empty(t, seen.lines("level=ERROR"))
}
