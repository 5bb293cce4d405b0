package broker_test

import (
	"fmt"
	"io"
	"maps"
	"path"
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
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// filesOf returns the content of all files below a broker's data directory, but for those that every start writes.
func filesOf(t *testing.T, fs vfs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	dirs, err := fs.List("broker")
	require.NoError(t, err)
	for _, dir := range dirs {
		dir = fs.PathJoin("broker", dir)
		names, err := fs.List(dir)
		if err != nil || len(names) == 0 {
			continue // a file, or nothing
		}
		for _, name := range names {
			files[fs.PathJoin(dir, name)] = content(t, fs, fs.PathJoin(dir, name))
		}
	}
	return files
}

func content(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	f, err := fs.Open(name)
	require.NoError(t, err)
	bytes, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return string(bytes)
}

func overwrite(t *testing.T, fs vfs.FS, name, content string) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	if len(content) > 0 {
		_, err = f.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
}

// unreadable fails what opens or reads a file.
func unreadable(kind errorfs.OpKind) bool {
	return kind == errorfs.OpOpen || kind == errorfs.OpFileRead || kind == errorfs.OpFileReadAt
}

// spoil changes bytes in the middle of a file.
func spoil(t *testing.T, fs *faultfs.FS, name string) {
	t.Helper()
	whole := []byte(content(t, fs, name))
	for i := len(whole) / 2; i < min(len(whole)/2+4, len(whole)); i++ {
		whole[i] ^= 0x5a
	}
	overwrite(t, fs, name, string(whole))
}

// damages are what may happen to a file of a broker that is closed. The file system may fail from then on.
var damages = map[string]func(t *testing.T, fs *faultfs.FS, name string){
	"torn": func(t *testing.T, fs *faultfs.FS, name string) {
		whole := content(t, fs, name)
		overwrite(t, fs, name, whole[:len(whole)*2/3])
	},
	"wrong bytes": spoil,
	"wrong bytes after a kill": func(t *testing.T, fs *faultfs.FS, name string) {
		spoil(t, fs, name)
		appendBytes(t, fs, name, []byte{0}) // another size than that of the clean close
	},
	"missing": func(t *testing.T, fs *faultfs.FS, name string) { require.NoError(t, fs.Remove(name)) },
	"unreadable": func(_ *testing.T, fs *faultfs.FS, name string) {
		fs.Fail(&faultfs.Fault{Path: name, Kind: unreadable, Err: syscall.EIO})
	},
}

// seedInternal gives a broker something in each of its own logs: a topic with records, an offset, a group with a
// member, a transaction that is open and has an offset.
func seedInternal(t *testing.T, fs vfs.FS) {
	t.Helper()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 2, "t")
	done := newRawProducer(t, b, "done")
	require.NoError(t, done.produce(0, "v"))
	require.NoError(t, done.commitOffset("g", 5))
	require.NoError(t, done.end(true, 5))
	require.NoError(t, commitOffset(t, b, "g", "t", 1, 7))
	_, err := joinAlone(t, b, "members")
	require.NoError(t, err)
	open := newRawProducer(t, b, "open")
	require.NoError(t, open.produce(1, "w"))
	require.NoError(t, open.commitOffset("other", 9))
	require.NoError(t, b.Close())
}

// ask sends a request to the broker itself: to no coordinator that a client would look for, and once.
func ask[R kmsg.Response](t *testing.T, b *broker.Broker, req kmsg.Request) R {
	t.Helper()
	client := brokertest.Client(t, b)
	defer client.Close()
	resp, err := client.SeedBrokers()[0].Request(within(t), req)
	require.NoError(t, err)
	return resp.(R)
}

func findCoordinator(t *testing.T, b *broker.Broker, kind int8) error {
	t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = kind, []string{"k"}
	return kerr.ErrorForCode(ask[*kmsg.FindCoordinatorResponse](t, b, req).Coordinators[0].ErrorCode)
}

// groupErrors are what a broker answers to requests about groups.
func groupErrors(t *testing.T, b *broker.Broker) map[string]error {
	t.Helper()
	errs := map[string]error{"find": findCoordinator(t, b, 0)}
	add := func(name string, code int16) { errs[name] = kerr.ErrorForCode(code) }

	topics, err := kadm.NewClient(brokertest.Client(t, b)).ListTopics(within(t))
	require.NoError(t, err)
	fetch := kmsg.NewPtrOffsetFetchRequest()
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = "g"
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.TopicID, topic.Partitions = "t", topics["t"].ID, []int32{1}
	group.Topics = append(group.Topics, topic)
	fetch.Groups = append(fetch.Groups, group)
	fetched := ask[*kmsg.OffsetFetchResponse](t, b, fetch).Groups[0]
	add("fetch", fetched.ErrorCode)
	if fetched.ErrorCode == 0 {
		require.EqualValues(t, 7, fetched.Topics[0].Partitions[0].Offset)
	}

	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation = "new", -1
	ct, cp := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	ct.Topic, ct.TopicID = "t", topics["t"].ID
	ct.Partitions = append(ct.Partitions, cp)
	commit.Topics = append(commit.Topics, ct)
	add("commit", ask[*kmsg.OffsetCommitResponse](t, b, commit).Topics[0].Partitions[0].ErrorCode)

	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{"members"}
	described := ask[*kmsg.DescribeGroupsResponse](t, b, describe).Groups[0]
	add("describe", described.ErrorCode)
	if described.ErrorCode == 0 {
		require.Equal(t, "Stable", described.State)
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.Generation = "members", 1
	if described.ErrorCode == 0 {
		beat.MemberID = described.Members[0].MemberID
	}
	add("heartbeat", ask[*kmsg.HeartbeatResponse](t, b, beat).ErrorCode)
	add("list", ask[*kmsg.ListGroupsResponse](t, b, kmsg.NewPtrListGroupsRequest()).ErrorCode)
	return errs
}

// transactionErrors are what a broker answers to requests about transactions.
func transactionErrors(t *testing.T, b *broker.Broker) map[string]error {
	t.Helper()
	errs := map[string]error{"find": findCoordinator(t, b, 1)}
	add := func(name string, code int16) { errs[name] = kerr.ErrorForCode(code) }
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"open"}
	described := ask[*kmsg.DescribeTransactionsResponse](t, b, describe).TransactionStates[0]
	add("describe", described.ErrorCode)
	if described.ErrorCode == 0 {
		require.Equal(t, "Ongoing", described.State)
	}
	add("list", ask[*kmsg.ListTransactionsResponse](t, b, kmsg.NewPtrListTransactionsRequest()).ErrorCode)
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = kmsg.StringPtr("new"), 60_000
	init.ProducerID, init.ProducerEpoch = -1, -1
	add("init", ask[*kmsg.InitProducerIDResponse](t, b, init).ErrorCode)
	return errs
}

func requireAll(t *testing.T, want *kerr.Error, errs map[string]error) {
	t.Helper()
	for name, err := range errs {
		if want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, want, name)
		}
	}
}

// requireServing checks that partitions are written and read.
func requireServing(t *testing.T, b *broker.Broker) {
	t.Helper()
	require.Equal(t, []string{"v"}, committedIn(t, b, 0))
	p := plain(t, b)
	require.NoError(t, p.send(1, p.batch(1, "more")).Err)
	createTopic(t, b, 1, "fresh")
}

// TestDamageToInternalLogs damages each file of the broker's own logs in each way. What can be made again is; without
// its log a coordinator is offline and the rest serves; without the metadata the broker refuses to start, and changes
// nothing. The restored file brings everything back.
func TestDamageToInternalLogs(t *testing.T) {
	seeded := vfs.NewMem()
	seedInternal(t, seeded)
	whole := filesOf(t, seeded)
	tried := 0
	for name := range whole {
		if !strings.Contains(name, "__") {
			continue
		}
		for kind, damage := range damages {
			if len(whole[name]) == 0 && kind != "missing" && kind != "unreadable" {
				continue
			}
			tried++
			t.Run(strings.TrimPrefix(name, "broker/")+" "+kind, func(t *testing.T) {
				mem := vfs.NewMem()
				_, err := vfs.Clone(seeded, mem, "broker", "broker")
				require.NoError(t, err)
				fs := faultfs.New(mem)
				damage(t, fs, name)
				// Only the batches themselves, and a disk that fails, cannot be helped.
				lost := strings.HasSuffix(name, ".log") ||
					strings.HasSuffix(name, "checkpoint") && kind == "unreadable"
				checkDamaged(t, fs, mem, name, lost)
				fs.Fail(nil)
				if lost {
					overwrite(t, mem, name, whole[name])
				}
				b := brokertest.New(t, brokertest.On(fs))
				requireAll(t, nil, groupErrors(t, b))
				requireAll(t, nil, transactionErrors(t, b))
				require.Equal(t, []string{"v"}, committedIn(t, b, 0))
			})
		}
	}
	require.GreaterOrEqual(t, tried, 60)
}

// checkDamaged opens a broker on files of which one is damaged, and closes it.
func checkDamaged(t *testing.T, fs, mem vfs.FS, name string, lost bool) {
	t.Helper()
	before, seen := filesOf(t, mem), &journal{}
	cfg := broker.Config{FS: fs}
	seen.logTo()(&cfg)
	b, err := broker.Open(cfg)
	if lost && strings.Contains(name, "metadata") {
		require.Error(t, err)
		for _, part := range []string{path.Ext(name), "restore broker/__thalweg_metadata-0"} {
			require.ErrorContains(t, err, part)
		}
		if strings.HasSuffix(name, ".log") {
			require.ErrorContains(t, err, "offset")
		}
		require.True(t, maps.Equal(before, filesOf(t, mem)), "nothing was changed")
		return
	}
	require.NoError(t, err)
	offline := seen.lines("level=ERROR", "offline")
	if lost {
		require.Len(t, offline, 1)
		require.Contains(t, offline[0], path.Base(name))
		require.Equal(t, 1, b.Stats().OfflinePartitions)
	} else {
		require.Empty(t, offline)
		require.Zero(t, b.Stats().OfflinePartitions)
	}
	groups, transactions := (*kerr.Error)(nil), (*kerr.Error)(nil)
	switch {
	case lost && strings.Contains(name, "consumer_offsets"):
		groups = kerr.CoordinatorNotAvailable
	case lost:
		transactions = kerr.CoordinatorNotAvailable
	}
	requireAll(t, groups, groupErrors(t, b))
	requireAll(t, transactions, transactionErrors(t, b))
	requireServing(t, b)
	require.NoError(t, b.Close())
}

// A broker without metadata, in a directory where one has been, is no empty broker.
func TestMissingMetadataIsRefused(t *testing.T) {
	for _, what := range []string{"broker/__thalweg_metadata-0", "broker/__thalweg_metadata-0/checkpoint"} {
		mem := vfs.NewMem()
		seedInternal(t, mem)
		require.NoError(t, mem.RemoveAll(what))
		if strings.HasSuffix(what, "checkpoint") {
			require.NoError(t, mem.Remove("broker/__thalweg_metadata-0/"+fmt.Sprintf("%020d.log", 0)))
		}
		before := filesOf(t, mem)
		_, err := broker.Open(broker.Config{FS: mem})
		require.ErrorContains(t, err, "restore broker/__thalweg_metadata-0")
		require.ErrorContains(t, err, "offset 0")
		require.True(t, maps.Equal(before, filesOf(t, mem)))
	}
}

// A partition whose directory is gone is offline: an empty one would make its readers begin again.
func TestAMissingDirectoryIsNoEmptyPartition(t *testing.T) {
	for _, dir := range []string{"t-1", "__consumer_offsets-0", "__transaction_state-0"} {
		t.Run(dir, func(t *testing.T) {
			mem, seen := vfs.NewMem(), &journal{}
			seedInternal(t, mem)
			_, err := vfs.Clone(mem, mem, "broker/"+dir, "elsewhere")
			require.NoError(t, err)
			require.NoError(t, mem.RemoveAll("broker/"+dir))
			b := brokertest.New(t, brokertest.On(mem), seen.logTo())
			offline := seen.lines("level=ERROR", "offline", dir, "the directory of the partition is missing")
			require.Len(t, offline, 1)
			if dir == "t-1" {
				require.Contains(t, offline[0], "restore it from a backup, or delete and recreate the topic")
			}
			require.Equal(t, []string{"v"}, committedIn(t, b, 0))
			require.NoError(t, b.Close())
			report, err := broker.Check(mem, "broker")
			require.NoError(t, err)
			require.Equal(t, []broker.CheckFinding{
				{Path: "broker/" + dir, Damage: true, Text: "the directory of the partition is missing"},
			}, report.Findings)

			require.NoError(t, mem.RemoveAll("broker/"+dir))
			_, err = vfs.Clone(mem, mem, "elsewhere", "broker/"+dir)
			require.NoError(t, err)
			b = brokertest.New(t, brokertest.On(mem))
			requireAll(t, nil, groupErrors(t, b))
			requireAll(t, nil, transactionErrors(t, b))
			require.EqualValues(t, 1, fetchOne(t, b, 1, direct.ReadUncommitted).HighWatermark)
		})
	}
}

// While the groups' log is offline a transaction takes no offsets, and one without offsets ends.
func TestTransactionsWithoutTheGroupsLog(t *testing.T) {
	mem := vfs.NewMem()
	seedInternal(t, mem)
	brokertest.Flip(t, mem, "broker/__consumer_offsets-0/00000000000000000000.log", 70)
	b := brokertest.New(t, brokertest.On(mem))
	p := newRawProducer(t, b, "another")
	require.NoError(t, p.produce(0, "x"))
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = "another", p.pid, p.epoch, "g"
	require.ErrorIs(t, kerr.ErrorForCode(ask[*kmsg.AddOffsetsToTxnResponse](t, b, add).ErrorCode),
		kerr.CoordinatorNotAvailable)
	require.NoError(t, p.end(true, 5))
	require.Equal(t, []string{"v", "x"}, committedIn(t, b, 0))

	// A topic that is deleted meanwhile does not come back with its offsets.
	admin := kadm.NewClient(brokertest.Client(t, b))
	deleted, err := admin.DeleteTopics(within(t), "t")
	require.NoError(t, err)
	require.NoError(t, deleted["t"].Err)
	_, err = admin.CreateTopic(within(t), 2, 1, nil, "t")
	require.ErrorIs(t, err, kerr.KafkaStorageError)
	require.NoError(t, b.Close())
	brokertest.Flip(t, mem, "broker/__consumer_offsets-0/00000000000000000000.log", 70)
	b = brokertest.New(t, brokertest.On(mem))
	createTopic(t, b, 2, "t")
	fetched, err := kadm.NewClient(brokertest.Client(t, b)).FetchOffsets(within(t), "g")
	require.NoError(t, err)
	require.Empty(t, fetched)
	require.NoError(t, put(t, b, "t", "v", time.Now()))
	consume(t, brokertest.Client(t, b, kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 1)
}

// A topic of which a partition's directory is gone can be deleted and made again.
func TestATopicWithoutADirectoryIsRecreated(t *testing.T) {
	mem := vfs.NewMem()
	seedInternal(t, mem)
	require.NoError(t, mem.RemoveAll("broker/t-1"))
	b := brokertest.New(t, brokertest.On(mem))
	require.Equal(t, 1, b.Stats().OfflinePartitions)
	deleted, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "t")
	require.NoError(t, err)
	require.NoError(t, deleted["t"].Err)
	createTopic(t, b, 2, "t")
	p := plain(t, b)
	require.NoError(t, p.send(1, p.batch(1, "v")).Err)
	require.Equal(t, []string{"v"}, committedIn(t, b, 1))
	require.NoError(t, b.Close())
	b = brokertest.New(t, brokertest.On(mem))
	require.Zero(t, b.Stats().OfflinePartitions)
}

// Where a log of the broker's own topics is lost, and there is no backup, an empty one in its place brings the
// coordinator back without its state, as the log says.
func TestTheBrokersOwnTopicsBeginEmpty(t *testing.T) {
	empty := fmt.Sprintf("%020d.log", 0)
	for _, dir := range []string{"__consumer_offsets-0", "__transaction_state-0"} {
		for damage, text := range map[string]string{"wrong bytes": "is damaged at byte", "no directory": "is missing"} {
			t.Run(dir+" "+damage, func(t *testing.T) {
				mem, seen, at := vfs.NewMem(), &journal{}, "broker/"+dir
				seedInternal(t, mem)
				if damage == "no directory" {
					require.NoError(t, mem.RemoveAll(at))
				} else {
					brokertest.Flip(t, mem, at+"/"+empty, 70)
				}
				b := brokertest.New(t, brokertest.On(mem), seen.logTo())
				require.Equal(t, 1, b.Stats().OfflinePartitions)
				require.NoError(t, b.Close())
				offline := seen.lines("level=ERROR", "offline", text)
				require.Len(t, offline, 1)
				require.Contains(t, offline[0], "stop the broker and restore the directory "+at+" from a backup; without one, "+
					"make the directory, remove all files in it, create an empty file "+empty+" there, and start")
				require.NotContains(t, offline[0], "delete")

				require.NoError(t, mem.RemoveAll(at))
				require.NoError(t, mem.MkdirAll(at, 0o750))
				overwrite(t, mem, at+"/"+empty, "")
				for range 2 {
					b = brokertest.New(t, brokertest.On(mem))
					require.Zero(t, b.Stats().OfflinePartitions)
					requireBegunEmpty(t, b, dir)
					require.NoError(t, b.Close())
				}
			})
		}
	}
}

// requireBegunEmpty checks a broker on what seedInternal left, after a log of its own began empty.
func requireBegunEmpty(t *testing.T, b *broker.Broker, dir string) {
	t.Helper()
	require.NoError(t, findCoordinator(t, b, 0))
	require.NoError(t, findCoordinator(t, b, 1))
	adm := kadm.NewClient(brokertest.Client(t, b))
	fetched, err := adm.FetchOffsets(within(t), "g")
	require.NoError(t, err)
	if dir == "__consumer_offsets-0" {
		require.Empty(t, fetched)
	} else {
		at, ok := fetched.Lookup("t", 1)
		require.True(t, ok)
		require.EqualValues(t, 7, at.At)
	}
	fetched, err = adm.FetchOffsets(within(t), "other")
	require.NoError(t, err)
	require.NoError(t, fetched.Error(), "no offset of a transaction stays pending")
	require.NoError(t, commitOffset(t, b, "new", "t", 1, 3))
	require.Equal(t, []string{"v"}, committedIn(t, b, 0)[:1])
	if dir == "__transaction_state-0" {
		part := fetchOne(t, b, 1, direct.ReadUncommitted)
		require.Equal(t, part.HighWatermark, part.LastStableOffset, "the open transaction was aborted")
		require.Empty(t, committedIn(t, b, 1))
	}
	p := newRawProducer(t, b, "open")
	require.NoError(t, p.produce(0, "more"))
	require.NoError(t, p.commitOffset("other", 11))
	require.NoError(t, p.end(true, 5))
	require.Contains(t, committedIn(t, b, 0), "more")
}

// A read that meets damage in the broker's own topics gives the advice that a start gives: nobody can delete records
// there.
func TestDamageOfTheBrokersOwnTopicsIsRead(t *testing.T) {
	for _, topic := range []string{"__consumer_offsets", "__transaction_state"} {
		mem, seen := vfs.NewMem(), &journal{}
		seedInternal(t, mem)
		b := brokertest.New(t, brokertest.On(mem), seen.logTo())
		brokertest.Flip(t, mem, fmt.Sprintf("broker/%s-0/%020d.log", topic, 0), 70)
		results, err := direct.Of(b).Fetch(within(t), direct.FetchRequest{
			Partitions: []direct.FetchPartition{{Topic: topic}},
		})
		require.NoError(t, err)
		require.ErrorIs(t, results[0].Err, kerr.CorruptMessage)
		require.Positive(t, results[0].AfterDamage)
		for _, text := range append(seen.lines("level=ERROR", "broker: read"), results[0].Err.Error()) {
			require.Contains(t, text, "is damaged at byte")
			require.Contains(t, text, "stop the broker and restore the directory broker/"+topic+"-0 from a backup")
			require.Contains(t, text, "create an empty file")
			require.NotContains(t, text, "delete")
		}
		require.NoError(t, b.Close())
	}
}
