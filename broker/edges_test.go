package broker_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
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
	"thalweg/internal/batch"
)

// flaky is a listener whose first calls of Accept fail.
type flaky struct {
	net.Listener
	mu     sync.Mutex
	errors []error
}

func (l *flaky) Accept() (net.Conn, error) {
	l.mu.Lock()
	if len(l.errors) > 0 {
		err := l.errors[0]
		l.errors = l.errors[1:]
		l.mu.Unlock()
		return nil, err
	}
	l.mu.Unlock()
	return l.Listener.Accept()
}

func TestAcceptGoesOnAfterTransientErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) {
		cfg.Listener = &flaky{Listener: l, errors: []error{syscall.EMFILE, syscall.ECONNABORTED, syscall.EMFILE}}
	}))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Ping(within(t)))
}

// A broker that is closed while Accept fails does not wait for the pause to end.
func TestCloseWhileAcceptFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	clock := brokertest.NewClock() // stands still: the pause after the first error never ends
	b := brokertest.New(t, brokertest.At(clock), brokertest.Configure(func(cfg *broker.Config) {
		cfg.Listener = &flaky{Listener: l, errors: []error{syscall.EMFILE}}
	}))
	require.NoError(t, b.Close())
}

// A broker on all addresses names the one by which the client reached it: nobody can connect to 0.0.0.0.
func TestABrokerOnAllAddressesNamesTheClientsOwn(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) { cfg.Listener = l }))
	_, port, err := net.SplitHostPort(b.Addr())
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		client, err := kgo.NewClient(kgo.SeedBrokers(net.JoinHostPort(host, port)))
		require.NoError(t, err)
		brokers, err := kadm.NewClient(client).ListBrokers(within(t))
		require.NoError(t, err)
		require.Equal(t, host, brokers[0].Host)
		coordinator := kadm.NewClient(client).FindGroupCoordinators(within(t), "g")
		require.NoError(t, coordinator.Error())
		require.Equal(t, host, coordinator["g"].Host)
		client.Close()
	}
}

func TestDeleteRecordsIsCheckedAsInKafka(t *testing.T) {
	b := brokertest.New(t)
	client := brokertest.Client(t, b)
	admin := kadm.NewClient(client)
	policies := map[string]string{"deleted": "delete", "compacted": "compact", "both": "compact,delete"}
	for topic, policy := range policies {
		_, err := admin.CreateTopic(within(t), 1, 1, map[string]*string{"cleanup.policy": &policy}, topic)
		require.NoError(t, err)
		for range 3 {
			r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}
			require.NoError(t, client.ProduceSync(within(t), r).FirstErr())
		}
	}
	remove := func(topic string, offset int64) (int64, error) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: topic, At: offset})
		answers, err := admin.DeleteRecords(within(t), offsets)
		require.NoError(t, err)
		answer, ok := answers.Lookup(topic, 0)
		require.True(t, ok)
		return answer.LowWatermark, answer.Err
	}
	for _, offset := range []int64{-2, -3, -100, -1 << 63} {
		_, err := remove("deleted", offset)
		require.ErrorIs(t, err, kerr.OffsetOutOfRange, offset)
	}
	start, err := remove("deleted", 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, start, "the refused requests removed nothing")
	_, err = remove("compacted", 1)
	require.ErrorIs(t, err, kerr.PolicyViolation)
	start, err = remove("both", -1)
	require.NoError(t, err)
	require.EqualValues(t, 3, start)
}

func TestDirectoriesOfOthersAreKept(t *testing.T) {
	dir := t.TempDir()
	write := func(path string) {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
	}
	photo := "photos-2023/IMG_20230101_123456789.jpg"
	write(photo)
	write("notes-1/todo.txt")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty-1"), 0o755))
	write("orders-0/00000000000000000000.log")
	write("gone-0.0123-deleted/00000000000000000000.log")
	var logged bytes.Buffer
	open := func() {
		b, err := broker.Open(broker.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			_, err := os.Stat(filepath.Join(dir, "gone-0.0123-deleted"))
			return errors.Is(err, os.ErrNotExist)
		}, time.Minute, time.Millisecond)
		require.NoError(t, b.Close())
	}
	open()
	open() // what was moved aside stays there
	require.FileExists(t, filepath.Join(dir, photo))
	require.FileExists(t, filepath.Join(dir, "notes-1/todo.txt"))
	require.DirExists(t, filepath.Join(dir, "empty-1"))
	require.NoDirExists(t, filepath.Join(dir, "orders-0"), "it would be taken for a new topic's")
	strays, err := filepath.Glob(filepath.Join(dir, "orders-0.*-stray/00000000000000000000.log"))
	require.NoError(t, err)
	require.Len(t, strays, 1)
	require.NoDirExists(t, filepath.Join(dir, "gone-0.0123-deleted"))
	require.Contains(t, logged.String(), "level=WARN")
	require.Contains(t, logged.String(), "orders-0")
	info, err := os.Stat(filepath.Join(dir, "__consumer_offsets-0"))
	require.NoError(t, err)
	require.Zero(t, info.Mode()&0o007, "nobody else reads the records")
}

func TestADataDirectoryThatIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := broker.Open(broker.Config{Dir: file})
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.NotContains(t, err.Error(), "in use")
}

// Every setting of a broker is checked, and the error names it.
func TestSettingsAreChecked(t *testing.T) {
	bad := map[string][]any{
		"Advertise":          {"nowhere", ":9092", "0.0.0.0:9092", "[::]:9092", "host:0", "host:http", "host:65536"},
		"TopicDefaults":      {map[string]string{"retention": "1"}, map[string]string{"retention.ms": "week"}},
		"MaxSessionTimeout":  {time.Second}, // below the least one
		"Partitions":         {int32(20_001)},
		"MaxOpenFiles":       {7},
		"OffsetRetention":    {time.Duration(1)},
		"MemoryBytesMax":     {int64(1)},
		"MaxTopicPartitions": {math.MaxInt},
	}
	anything := []string{"Dir", "FS", "Clock", "Listener", "Logger", "AutoCreateTopics"}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[broker.Config]()) {
		values := bad[field.Name]
		if field.Type.ConvertibleTo(reflect.TypeFor[int64]()) {
			values = append(values, reflect.ValueOf(-1).Convert(field.Type).Interface())
		}
		require.NotEqual(t, len(values) > 0, slices.Contains(anything, field.Name), "%s is not tested", field.Name)
		for _, value := range values {
			cfg := broker.Config{FS: vfs.NewMem()}
			reflect.ValueOf(&cfg).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(value))
			b, err := broker.Open(cfg)
			if err == nil {
				err = errors.Join(b.Close(), errors.New("it opened"))
			}
			require.ErrorContains(t, err, field.Name, "%v", value)
			require.NotContains(t, err.Error(), "it opened", "%s %v", field.Name, value)
		}
	}
}

func TestAccessControlListsAreDisabled(t *testing.T) {
	b := brokertest.New(t)
	client := brokertest.Client(t, b)
	described, err := kmsg.NewPtrDescribeACLsRequest().RequestWith(within(t), client)
	require.NoError(t, err)
	require.Equal(t, kerr.SecurityDisabled.Code, described.ErrorCode)
	create := kmsg.NewPtrCreateACLsRequest()
	create.Creations = append(create.Creations, kmsg.NewCreateACLsRequestCreation())
	created, err := create.RequestWith(within(t), client)
	require.NoError(t, err)
	require.Equal(t, kerr.SecurityDisabled.Code, created.Results[0].ErrorCode)
	remove := kmsg.NewPtrDeleteACLsRequest()
	remove.Filters = append(remove.Filters, kmsg.NewDeleteACLsRequestFilter())
	removed, err := remove.RequestWith(within(t), client)
	require.NoError(t, err)
	require.Equal(t, kerr.SecurityDisabled.Code, removed.Results[0].ErrorCode)
}

// A batch is refused as a whole, and all its invalid records are named.
func TestAllInvalidRecordsAreNamed(t *testing.T) {
	b := brokertest.New(t)
	client := brokertest.Client(t, b)
	compact := "compact"
	_, err := kadm.NewClient(client).CreateTopic(within(t), 1, 1, map[string]*string{"cleanup.policy": &compact}, "t")
	require.NoError(t, err)
	builder := batch.NewBuilder(batch.None)
	for i, key := range [][]byte{nil, []byte("k"), nil} {
		builder.Append(int64(i), key, []byte("v"), nil)
	}
	raw, err := builder.Finish(batch.NoProducer())
	require.NoError(t, err)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	partition.Records = raw
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	req.SetVersion(9)
	conn := dial(t, b)
	conn.send(req, 9, 1)
	_, body := conn.receive()
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(9)
	require.NoError(t, resp.ReadFrom(body[1:])) // behind the header's tags
	answer := resp.Topics[0].Partitions[0]
	require.Equal(t, kerr.InvalidRecord.Code, answer.ErrorCode)
	require.Len(t, answer.ErrorRecords, 2)
	require.EqualValues(t, 0, answer.ErrorRecords[0].RelativeOffset)
	require.EqualValues(t, 2, answer.ErrorRecords[1].RelativeOffset)
}

// Apache Kafka takes no record of more than an hour ahead, and neither do we.
func TestARecordOfTheFutureIsRefusedByDefault(t *testing.T) {
	b := brokertest.New(t)
	client := brokertest.Client(t, b)
	createTopic(t, b, 1, "t")
	at := func(d time.Duration) error {
		r := &kgo.Record{Topic: "t", Timestamp: time.Now().Add(d), Value: []byte("v")}
		return client.ProduceSync(within(t), r).FirstErr()
	}
	require.ErrorIs(t, at(2*time.Hour), kerr.InvalidTimestamp)
	require.NoError(t, at(30*time.Minute))
	require.NoError(t, at(-50*365*24*time.Hour))
}
