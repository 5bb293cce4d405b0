package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// session is a client's side of a fetch session over topic t.
type session struct {
	t      *testing.T
	b      *broker.Broker
	client *kgo.Client
	topic  [16]byte
	id     int32
	epoch  int32
	wait   time.Duration
	iso    int8
	bytes  int32 // of an answer
}

func newSession(t *testing.T, b *broker.Broker) *session {
	t.Helper()
	s := &session{t: t, b: b, client: brokertest.Client(t, b), bytes: 1 << 20}
	topics, err := kadm.NewClient(s.client).ListTopics(within(t))
	require.NoError(t, err)
	s.topic = topics["t"].ID
	return s
}

func (s *session) request(offsets map[int32]int64, forget ...int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(s.wait.Milliseconds()), 1, s.bytes
	req.SessionID, req.SessionEpoch, req.IsolationLevel = s.id, s.epoch, s.iso
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID = s.topic
	for p, offset := range offsets {
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p, offset, 1<<20
		topic.Partitions = append(topic.Partitions, part)
	}
	if len(topic.Partitions) > 0 {
		req.Topics = append(req.Topics, topic)
	}
	if len(forget) > 0 {
		gone := kmsg.NewFetchRequestForgottenTopic()
		gone.TopicID, gone.Partitions = s.topic, forget
		req.ForgottenTopics = append(req.ForgottenTopics, gone)
	}
	return req
}

// fetch names the partitions that have changed, and returns what is told, by partition.
func (s *session) fetch(offsets map[int32]int64, forget ...int32) map[int32]kmsg.FetchResponseTopicPartition {
	s.t.Helper()
	resp, err := s.request(offsets, forget...).RequestWith(within(s.t), s.client)
	require.NoError(s.t, err)
	require.NoError(s.t, kerr.ErrorForCode(resp.ErrorCode))
	require.NotZero(s.t, resp.SessionID)
	s.id = resp.SessionID
	s.epoch++
	told := map[int32]kmsg.FetchResponseTopicPartition{}
	for i := range resp.Topics {
		for _, p := range resp.Topics[i].Partitions {
			told[p.Partition] = p
		}
	}
	return told
}

func (s *session) put(partition int32) {
	s.t.Helper()
	p := plain(s.t, s.b)
	require.NoError(s.t, p.send(partition, p.batch(partition, "v")).Err)
}

// What a full answer had no room for is in the next ones, although nothing new comes.
func TestASessionGoesOnAfterAFullAnswer(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 4, "t")
	for p := range int32(3) {
		(&session{t: t, b: b}).put(p)
	}
	s := newSession(t, b)
	s.bytes = 1
	changed := map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0}
	read := map[int32]bool{}
	for range 3 {
		told := s.fetch(changed)
		changed = map[int32]int64{}
		for p, part := range told {
			if len(part.RecordBatches) > 0 {
				require.False(t, read[p], "partition %d", p)
				read[p] = true
				changed[p] = 1
			}
		}
		require.Len(t, changed, 1, "an answer has room for one batch, which it has")
	}
	require.Empty(t, s.fetch(changed))
}

// A fetch of a session costs what its active partitions cost.
func TestASessionCostsWhatIsActive(t *testing.T) {
	const partitions, active = 5000, 10
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) { cfg.Sync = broker.SyncNever }))
	createTopic(t, b, partitions, "t")
	s := newSession(t, b)
	all := map[int32]int64{}
	for p := range int32(partitions) {
		all[p] = 0
	}
	require.Len(t, s.fetch(all), partitions)
	before := broker.Visits(b)
	require.Empty(t, s.fetch(nil))
	require.Zero(t, broker.Visits(b)-before, "nothing is active")
	offsets := map[int32]int64{}
	for round := range int64(20) {
		for p := range int32(active) {
			s.put(p * 100)
		}
		before := broker.Visits(b)
		told := s.fetch(offsets)
		require.Len(t, told, active)
		for p, r := range told {
			require.Equal(t, round+1, r.HighWatermark)
			require.NotEmpty(t, r.RecordBatches)
			offsets[p] = round + 1
		}
		require.LessOrEqual(t, broker.Visits(b)-before, int64(2*active))
	}
}

func TestASessionTellsWhatIsNew(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 4, "t")
	s := newSession(t, b)
	s.put(0)
	first := s.fetch(map[int32]int64{0: 0, 1: 0, 2: 0})
	require.Len(t, first, 3)
	require.NotEmpty(t, first[0].RecordBatches)
	again := s.fetch(nil) // without another offset the same is told again
	require.Len(t, again, 1)
	require.Equal(t, first[0].RecordBatches, again[0].RecordBatches)
	require.Empty(t, s.fetch(map[int32]int64{0: 1}))

	s.put(2)
	s.put(3)
	told := s.fetch(map[int32]int64{3: 0}) // a new one
	require.Len(t, told, 2)
	require.NotEmpty(t, told[2].RecordBatches)
	require.NotEmpty(t, told[3].RecordBatches)
	s.put(2)
	require.Empty(t, s.fetch(map[int32]int64{3: 1}, 2), "it was forgotten")

	_, err := kadm.NewClient(s.client).CreatePartitions(within(t), 1, "t")
	require.NoError(t, err)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, s.fetch(map[int32]int64{9: 0})[9].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, s.fetch(nil)[9].ErrorCode, "until it is there or forgotten")
	require.Empty(t, s.fetch(nil, 9))
	require.Equal(t, kerr.OffsetOutOfRange.Code, s.fetch(map[int32]int64{1: 77})[1].ErrorCode)
	require.Zero(t, s.fetch(map[int32]int64{1: 0})[1].ErrorCode)

	_, err = kadm.NewClient(s.client).DeleteTopics(within(t), "t")
	require.NoError(t, err)
	for _, p := range s.fetch(nil) {
		require.NotZero(t, p.ErrorCode)
	}
}

// A fetch that waits is woken by any partition of its session, and sees the transactions that have ended before.
func TestASessionWaits(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 3, "t")
	s := newSession(t, b)
	s.iso = 1
	s.fetch(map[int32]int64{0: 0, 1: 0, 2: 0})
	s.wait = time.Minute
	told := make(chan map[int32]kmsg.FetchResponseTopicPartition, 1)
	go func() { told <- s.fetch(nil) }()
	s.put(1)
	require.NotEmpty(t, (<-told)[1].RecordBatches)

	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(2, "w"))
	s.wait = 0
	for _, r := range s.fetch(map[int32]int64{1: 1}) {
		require.Empty(t, r.RecordBatches, "it is undecided")
	}
	require.NoError(t, p.end(true, 5))
	require.NotEmpty(t, s.fetch(nil)[2].RecordBatches)
}

func TestSessionsAreChecked(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	s := newSession(t, b)
	s.fetch(map[int32]int64{0: 0})
	refused := func(id, epoch int32) error {
		req := s.request(nil)
		req.SessionID, req.SessionEpoch = id, epoch
		resp, err := s.client.SeedBrokers()[0].Request(within(t), req)
		require.NoError(t, err)
		return kerr.ErrorForCode(resp.(*kmsg.FetchResponse).ErrorCode)
	}
	require.ErrorIs(t, refused(s.id+1, 1), kerr.FetchSessionIDNotFound)
	require.ErrorIs(t, refused(s.id, 5), kerr.InvalidFetchSessionEpoch)
	require.NoError(t, refused(s.id, 1))
	require.ErrorIs(t, refused(s.id, 1), kerr.InvalidFetchSessionEpoch)
	require.NoError(t, refused(s.id, -1), "this ends it")
	require.ErrorIs(t, refused(s.id, 2), kerr.FetchSessionIDNotFound)

	s.id, s.epoch = 0, -1 // without a session
	req := s.request(map[int32]int64{0: 0})
	resp, err := req.RequestWith(within(t), s.client)
	require.NoError(t, err)
	require.Zero(t, resp.SessionID)
	require.Len(t, resp.Topics, 1)
	s.epoch = 0 // one that is empty is none
	resp, err = s.request(nil).RequestWith(within(t), s.client)
	require.NoError(t, err)
	require.Zero(t, resp.SessionID)
}

// Sessions are limited. One that was not used for long makes way.
func TestSessionsAreLimited(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, brokertest.At(clock))
	createTopic(t, b, 1, "t")
	s := newSession(t, b)
	open := func() int32 {
		s.id, s.epoch = 0, 0
		resp, err := s.request(map[int32]int64{0: 0}).RequestWith(within(t), s.client)
		require.NoError(t, err)
		return resp.SessionID
	}
	require.NotZero(t, open())
	for range 999 {
		require.NotZero(t, open())
	}
	require.Zero(t, open())
	clock.Jump(-time.Hour) // which does not make them younger
	require.Zero(t, open())
	clock.Advance(3 * time.Minute)
	require.NotZero(t, open())
}
