package broker_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
)

func listen(t *testing.T) brokertest.Option {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return brokertest.Configure(func(cfg *broker.Config) { cfg.Listener = l })
}

func TestOverTCP(t *testing.T) {
	b := brokertest.New(t, listen(t))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumeTopics("t"), kgo.DefaultProduceTopic("t"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer client.Close()
	createTopic(t, b, 3, "t")
	produceValues(t, client, "t", "v", 1000)
	consume(t, client, 1000)
}

// raw is a connection on which the test writes bytes.
type raw struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, b *broker.Broker) *raw {
	t.Helper()
	c, err := b.Dial(within(t), "", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return &raw{t, c}
}

func (c *raw) send(req kmsg.Request, version int16, correlation int32) {
	c.t.Helper()
	req.SetVersion(version)
	frame := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(req.Key()))
	frame = binary.BigEndian.AppendUint16(frame, uint16(version))
	frame = binary.BigEndian.AppendUint32(frame, uint32(correlation))
	frame = append(frame, 0, 4, 't', 'e', 's', 't')
	if req.IsFlexible() {
		frame = append(frame, 0)
	}
	frame = req.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err := c.Write(frame)
	require.NoError(c.t, err)
}

func (c *raw) receive() (correlation int32, body []byte) {
	c.t.Helper()
	var head [4]byte
	_, err := io.ReadFull(c, head[:])
	require.NoError(c.t, err)
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err = io.ReadFull(c, frame)
	require.NoError(c.t, err)
	return int32(binary.BigEndian.Uint32(frame)), frame[4:]
}

func (c *raw) closed() {
	c.t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(c.t, err, io.EOF)
}

func TestApiVersionsOfTheFuture(t *testing.T) {
	c := dial(t, brokertest.New(t))
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "future", "9"
	c.send(req, 5, 7)
	correlation, body := c.receive()
	require.Equal(t, int32(7), correlation)
	resp := kmsg.NewPtrApiVersionsResponse()
	require.NoError(t, resp.ReadFrom(body))
	require.ErrorIs(t, kerr.ErrorForCode(resp.ErrorCode), kerr.UnsupportedVersion)
	require.NotEmpty(t, resp.ApiKeys)

	c.send(req, 4, 8)
	_, body = c.receive()
	resp.SetVersion(4)
	require.NoError(t, resp.ReadFrom(body))
	require.NoError(t, kerr.ErrorForCode(resp.ErrorCode))
	require.GreaterOrEqual(t, resp.FinalizedFeaturesEpoch, int64(0))
	levels := map[string]int16{}
	for _, f := range resp.FinalizedFeatures {
		levels[f.Name] = f.MaxVersionLevel
	}
	require.Equal(t, int16(2), levels["transaction.version"])
}

// Answers come in the order of the requests, though the first one takes longest.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	c := dial(t, b)
	fetch := kmsg.NewPtrFetchRequest()
	fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes = 100, 1, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "t"
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 1 << 20
	topic.Partitions = append(topic.Partitions, part)
	fetch.Topics = append(fetch.Topics, topic)
	c.send(fetch, 12, 1)
	for i := range int32(20) {
		c.send(kmsg.NewPtrMetadataRequest(), 12, i+2)
	}
	for i := range int32(21) {
		correlation, body := c.receive()
		require.Equal(t, i+1, correlation)
		if i == 0 {
			resp := kmsg.NewPtrFetchResponse()
			resp.SetVersion(12)
			require.NoError(t, resp.ReadFrom(body[1:]))
			require.NotNil(t, resp.Topics[0].Partitions[0].RecordBatches, "empty, not null")
			require.Empty(t, resp.Topics[0].Partitions[0].RecordBatches)
		}
	}
}

// Every version of Fetch that we encode by hand is what kmsg decodes.
func TestFetchVersions(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "aborted"))
	require.NoError(t, p.end(false, 5))
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(within(t), p.client)
	require.NoError(t, err)
	c := dial(t, b)
	for version := int16(4); version <= 18; version++ {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.IsolationLevel = 1<<20, 1
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic = "t"
		for i := range metadata.Topics {
			if *metadata.Topics[i].Topic == "t" {
				topic.TopicID = metadata.Topics[i].TopicID
			}
		}
		for i := range int32(3) { // the last does not exist
			part := kmsg.NewFetchRequestTopicPartition()
			part.Partition, part.PartitionMaxBytes = i, 1<<20
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
		c.send(req, version, int32(version))
		_, body := c.receive()
		resp := kmsg.NewPtrFetchResponse()
		resp.SetVersion(version)
		if resp.IsFlexible() {
			body = body[1:]
		}
		require.NoError(t, resp.ReadFrom(body), "v%d", version)
		require.Len(t, resp.Topics, 1)
		parts := resp.Topics[0].Partitions
		require.Len(t, parts, 3)
		require.Equal(t, int64(2), parts[0].LastStableOffset)
		require.Len(t, parts[0].AbortedTransactions, 1)
		require.Equal(t, p.pid, parts[0].AbortedTransactions[0].ProducerID)
		require.NotEmpty(t, parts[0].RecordBatches)
		require.Empty(t, parts[1].RecordBatches)
		require.ErrorIs(t, kerr.ErrorForCode(parts[2].ErrorCode), kerr.UnknownTopicOrPartition)
	}
}

func TestBadFramesEndTheConnection(t *testing.T) {
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) { cfg.MaxRequestBytes = 10_000 }))
	for name, frame := range map[string][]byte{
		"too large":       {0x00, 0x10, 0x00, 0x00},
		"negative":        {0xff, 0xff, 0xff, 0xff, 0, 0},
		"too small":       {0, 0, 0, 4, 0, 3, 0, 0},
		"unknown key":     {0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"unserved key":    {0, 0, 0, 10, 0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"unknown version": {0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff},
		"bad client id":   {0, 0, 0, 10, 0, 3, 0, 0, 0, 0, 0, 1, 0x40, 0x00},
		"no body":         {0, 0, 0, 10, 0, 11, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, b)
			_, err := c.Write(frame)
			require.NoError(t, err)
			c.closed()
		})
	}
	createTopic(t, b, 1, "alive")
}

func TestConnectionLimit(t *testing.T) {
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) { cfg.MaxConnections = 2 }))
	first := dial(t, b)
	dial(t, b)
	_, err := b.Dial(within(t), "", "")
	require.ErrorContains(t, err, "MaxConnections")
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		c, err := b.Dial(within(t), "", "")
		return err == nil && c.Close() == nil
	}, patience, time.Millisecond)
}

func TestProduceWithoutAcks(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	client := brokertest.Client(t, b, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite(),
		kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	produceValues(t, client, "t", "v", 10)
	consume(t, client, 10)
}

// Many long polls wait at once, and one produce wakes those that it concerns.
func TestManyLongPolls(t *testing.T) {
	const n = 500
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	ctx := within(t)
	woken := make(chan int64, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			results, err := direct.Of(b).Fetch(ctx, direct.FetchRequest{
				MinBytes: 1, MaxWait: time.Hour,
				Partitions: []direct.FetchPartition{{Topic: "t", Partition: 0}},
			})
			if err == nil && len(results[0].Batches) > 0 {
				woken <- results[0].HighWatermark
			}
		})
	}
	other, cancel := context.WithCancel(ctx)
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		results, err := direct.Of(b).Fetch(other, direct.FetchRequest{
			MinBytes: 1, MaxWait: time.Hour,
			Partitions: []direct.FetchPartition{{Topic: "t", Partition: 1}},
		})
		if err == nil || len(results[0].Batches) > 0 {
			t.Error("woken without a reason")
		}
	}()
	p := &rawProducer{t: t, b: b, pid: -1, epoch: -1, sequence: map[int32]int32{0: -1}}
	require.NoError(t, p.produce(0, "wake up"))
	wg.Wait()
	require.Len(t, woken, n)
	cancel()
	<-idle
}

func TestCloseWakesEverybody(t *testing.T) {
	b, err := broker.Open(broker.Config{})
	require.NoError(t, err)
	createdBy, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial))
	require.NoError(t, err)
	defer createdBy.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	req.Topics = append(req.Topics, topic)
	_, err = req.RequestWith(within(t), createdBy)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := direct.Of(b).Fetch(context.Background(), direct.FetchRequest{
			MinBytes: 1, MaxWait: time.Hour, Partitions: []direct.FetchPartition{{Topic: "t"}},
		})
		if err == nil {
			t.Error("a fetch that the broker's end cut short says so")
		}
	}()
	require.NoError(t, b.Close())
	<-done
	require.NoError(t, b.Close(), "closing twice is fine")
	_, err = b.Dial(within(t), "", "")
	require.Error(t, err)
}

// A client that is gone without a word, or stuck, does not keep its connection. One that waits for an answer does.
func TestIdleConnectionsAreClosed(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, listen(t), brokertest.At(clock), brokertest.Configure(func(cfg *broker.Config) {
		cfg.IdleConnectionMax = 10 * time.Minute
		cfg.InitialRebalanceDelay = 24 * time.Hour
	}))
	connect := func() *raw {
		c, err := net.Dial("tcp", b.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		return &raw{t, c}
	}
	ask := func(c *raw) {
		c.send(kmsg.NewPtrApiVersionsRequest(), 0, 1)
		c.receive()
	}
	silent, half, alive, waiting := connect(), connect(), connect(), connect()
	ask(silent)
	_, err := half.Write([]byte{0, 0, 0, 100, 0})
	require.NoError(t, err)
	ask(alive)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType = "g", "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 1_800_000, 1_800_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "range"
	join.Protocols = append(join.Protocols, protocol)
	waiting.send(join, 2, 1)
	inMemory := dial(t, b)
	ask(inMemory)
	awaitMember(t, b, "g")

	clock.Advance(6 * time.Minute)
	ask(alive)
	clock.Advance(6 * time.Minute)
	silent.closed()
	half.closed()
	ask(alive)
	ask(inMemory)
	require.NoError(t, waiting.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it still waits")
}

// A client that takes a large answer slowly keeps its connection, however long that lasts.
func TestAConnectionWhoseAnswerIsTakenIsNotIdle(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, listen(t), brokertest.At(clock), brokertest.Configure(func(cfg *broker.Config) {
		cfg.IdleConnectionMax = 10 * time.Minute
	}))
	topicWith(t, b, "t", "max.message.bytes", strconv.Itoa(32<<20))
	p := plain(t, b)
	require.NoError(t, p.send(0, p.batch(0, strings.Repeat("v", 24<<20))).Err)
	tcp, err := net.Dial("tcp", b.Addr())
	require.NoError(t, err)
	defer func() { _ = tcp.Close() }()
	require.NoError(t, tcp.(*net.TCPConn).SetReadBuffer(64<<10))
	require.NoError(t, tcp.SetDeadline(time.Now().Add(patience)))
	c := &raw{t, tcp}
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.FetchRequestTopicPartition{part}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.Topics = 1<<20, []kmsg.FetchRequestTopic{topic}
	c.send(req, 11, 1)
	var head [4]byte
	_, err = io.ReadFull(c, head[:])
	require.NoError(t, err)
	left := int64(binary.BigEndian.Uint32(head[:]))
	require.Greater(t, left, int64(24<<20))
	for range 3 {
		clock.Advance(6 * time.Minute)
		for until := b.Stats().BytesOut + 2<<20; b.Stats().BytesOut < until; {
			n, err := c.Read(make([]byte, 64<<10))
			require.NoError(t, err)
			left -= int64(n)
		}
	}
	_, err = io.CopyN(io.Discard, c, left)
	require.NoError(t, err)
}

// awaitMember returns once a member waits in the group.
func awaitMember(t *testing.T, b *broker.Broker, group string) {
	t.Helper()
	admin := kadm.NewClient(brokertest.Client(t, b))
	for {
		groups, err := admin.DescribeGroups(within(t), group)
		require.NoError(t, err)
		if len(groups[group].Members) == 1 {
			return
		}
	}
}
