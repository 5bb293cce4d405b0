package broker_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// tell has a request carried out in the version that it names.
func tell[R kmsg.Response](t *testing.T, b *broker.Broker, req kmsg.Request) R {
	t.Helper()
	answer, err := broker.Begin(within(t), b, req)
	require.NoError(t, err)
	return received[R](t, answer)
}

func received[R kmsg.Response](t *testing.T, answer <-chan kmsg.Response) R {
	t.Helper()
	select {
	case resp := <-answer:
		return resp.(R)
	case <-within(t).Done():
		require.FailNow(t, "no answer")
		panic("unreachable")
	}
}

// committer is who commits an offset: its member id and, after a slash, its instance id.
type committer struct {
	id         string
	generation int32
}

func (c committer) member() (id string, instance *string) {
	id, static, ok := strings.Cut(c.id, "/")
	if ok {
		instance = &static
	}
	return id, instance
}

func (c committer) commit(t *testing.T, b *broker.Broker, version int16) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = version, "g", c.generation
	req.MemberID, req.InstanceID = c.member()
	topic, part := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	topic.Topic, part.Offset = "t", 1
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	return kerr.ErrorForCode(tell[*kmsg.OffsetCommitResponse](t, b, req).Topics[0].Partitions[0].ErrorCode)
}

// inTransaction is the request that commits offset at of t-0 in a producer's transaction.
func (c committer) inTransaction(p *rawProducer, at int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 5, "g", c.generation
	req.MemberID, req.InstanceID = c.member()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.id, p.pid, p.epoch
	topic, part := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	topic.Topic, part.Offset = "t", at
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	return req
}

func (c committer) commitInTransaction(t *testing.T, p *rawProducer) error {
	resp := tell[*kmsg.TxnOffsetCommitResponse](t, p.b, c.inTransaction(p, 1))
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func deleteOffsets(t *testing.T, b *broker.Broker, group, topic string, partitions int32) *kmsg.OffsetDeleteResponse {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	rt := kmsg.NewOffsetDeleteRequestTopic()
	rt.Topic = topic
	for i := range partitions {
		rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: i})
	}
	req.Topics = append(req.Topics, rt)
	return tell[*kmsg.OffsetDeleteResponse](t, b, req)
}

// The same members may commit offsets as with Apache Kafka 4.3.1. Its answers are the ones below.
func TestWhoMayCommit(t *testing.T) {
	type answers struct{ v8, v9, transaction error }
	all := func(err error) answers { return answers{err, err, err} }
	groups := map[string]func(*testing.T, *broker.Broker){
		"no group": func(*testing.T, *broker.Broker) {},
		"empty": func(t *testing.T, b *broker.Broker) {
			joined, err := joinAlone(t, b, "g")
			require.NoError(t, err)
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Version, req.Group = 2, "g"
			req.MemberID = joined.MemberID
			require.Zero(t, tell[*kmsg.LeaveGroupResponse](t, b, req).ErrorCode)
		},
		"stable": func(t *testing.T, b *broker.Broker) {
			_, err := joinAlone(t, b, "g")
			require.NoError(t, err)
		},
	}
	for _, test := range []struct {
		group string
		who   committer
		want  answers
	}{
		{"no group", committer{"", -1}, all(nil)},
		{"no group", committer{"x", -1}, all(nil)},
		{"no group", committer{"/i", -1}, all(nil)},
		{"no group", committer{"x", 1}, answers{kerr.IllegalGeneration, kerr.GroupIDNotFound, kerr.IllegalGeneration}},
		{"empty", committer{"", -1}, all(nil)},
		{"empty", committer{"x", -1}, all(nil)},
		{"empty", committer{"/i", -1}, all(nil)},
		{"empty", committer{"x", 1}, all(kerr.UnknownMemberID)},
		{"empty", committer{"", 2}, all(kerr.UnknownMemberID)},
		{"stable", committer{"", -1}, answers{kerr.UnknownMemberID, kerr.UnknownMemberID, nil}},
		{"stable", committer{"x", -1}, all(kerr.UnknownMemberID)},
		{"stable", committer{"/i", -1}, all(kerr.UnknownMemberID)},
		{"stable", committer{"x", 1}, all(kerr.UnknownMemberID)},
	} {
		t.Run(fmt.Sprintf("%s, %q in generation %d", test.group, test.who.id, test.who.generation), func(t *testing.T) {
			open := func() *broker.Broker {
				b := brokertest.New(t)
				createTopic(t, b, 1, "t")
				groups[test.group](t, b)
				return b
			}
			require.Equal(t, test.want.v8, test.who.commit(t, open(), 8))
			require.Equal(t, test.want.v9, test.who.commit(t, open(), 9))
			require.Equal(t, test.want.transaction, test.who.commitInTransaction(t, newRawProducer(t, open(), "tx")))
		})
	}
}

// The empty id names a group for the commits of old clients alone, as with Apache Kafka 4.3.1.
func TestTheGroupWithoutAName(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	adm := kadm.NewClient(brokertest.Client(t, b))
	require.NoError(t, commitOffset(t, b, "", "t", 0, 5))
	offsets, err := adm.FetchOffsets(within(t), "")
	require.NoError(t, err)
	require.EqualValues(t, 5, offsets["t"][0].At)
	p := newRawProducer(t, b, "tx")
	req := committer{"", -1}.inTransaction(p, 7)
	req.Group = ""
	resp := tell[*kmsg.TxnOffsetCommitResponse](t, b, req)
	require.Equal(t, kerr.InvalidGroupID.Code, resp.Topics[0].Partitions[0].ErrorCode)
	deleted, err := adm.DeleteGroups(within(t), "")
	require.NoError(t, err)
	require.NoError(t, deleted[""].Err)
	deleted, err = adm.DeleteGroups(within(t), "")
	require.NoError(t, err)
	require.Equal(t, kerr.GroupIDNotFound, deleted[""].Err)
}

// A group is deleted with the offsets that an open transaction would commit, as with Apache Kafka 4.3.1.
func TestAGroupIsDeletedBeforeItsTransactionEnds(t *testing.T) {
	fs := vfs.NewMem()
	b, err := broker.Open(broker.Config{FS: fs})
	require.NoError(t, err)
	createTopic(t, b, 1, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, committer{"", -1}.commitInTransaction(t, p))
	deleted, err := kadm.NewClient(p.client).DeleteGroups(within(t), "g")
	require.NoError(t, err)
	require.NoError(t, deleted["g"].Err)
	require.NoError(t, p.end(true, 5))
	requireNoOffsets(t, b)
	require.NoError(t, b.Close())
	b = brokertest.New(t, brokertest.On(fs))
	requireNoOffsets(t, b)
}

func TestWhichOffsetsAreDeleted(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	require.Equal(t, kerr.InvalidGroupID.Code, deleteOffsets(t, b, "", "t", 1).ErrorCode)
	require.Equal(t, kerr.GroupIDNotFound.Code, deleteOffsets(t, b, "g", "t", 1).ErrorCode)
	require.NoError(t, commitOffset(t, b, "g", "t", 1, 5))
	p := newRawProducer(t, b, "tx")
	require.NoError(t, committer{"", -1}.commitInTransaction(t, p))
	unknown := kerr.UnknownTopicOrPartition.Code
	require.Equal(t, unknown, deleteOffsets(t, b, "g", "nowhere", 1).Topics[0].Partitions[0].ErrorCode)
	deleted := deleteOffsets(t, b, "g", "t", 3).Topics[0].Partitions
	require.Equal(t, []int16{0, 0, unknown}, []int16{deleted[0].ErrorCode, deleted[1].ErrorCode, deleted[2].ErrorCode})
	require.NoError(t, p.end(true, 5))
	requireNoOffsets(t, b)
}

func requireNoOffsets(t *testing.T, b *broker.Broker) {
	t.Helper()
	offsets, err := kadm.NewClient(brokertest.Client(t, b)).FetchOffsets(within(t), "g")
	require.NoError(t, err)
	require.Empty(t, offsets)
}

// No offset of a deleted topic is left, even one that a transaction commits around the deletion.
func TestNoOffsetOutlivesItsTopic(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *broker.Broker, *rawProducer, func())
	}{
		{"a commit that was on its way", func(t *testing.T, b *broker.Broker, p *rawProducer, deleteTopic func()) {
			require.NoError(t, p.produce(0, "in the transaction"))
			open := broker.HoldFence(b, p.id)
			late := make(chan (<-chan kmsg.Response))
			go func() {
				answer, err := broker.Begin(within(t), b, committer{"", -1}.inTransaction(p, 7))
				if err != nil {
					t.Errorf("commit: %v", err)
				}
				late <- answer
			}()
			stacks := make([]byte, 1<<20)
			require.Eventually(t, func() bool {
				return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), ".commitTxnOffsets(")
			}, 10*time.Second, time.Millisecond)
			deleteTopic()
			open()
			resp := received[*kmsg.TxnOffsetCommitResponse](t, <-late)
			require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[0].Partitions[0].ErrorCode)
		}},
		{"a transaction that ends later", func(t *testing.T, b *broker.Broker, p *rawProducer, deleteTopic func()) {
			require.NoError(t, committer{"", -1}.commitInTransaction(t, p))
			deleteTopic()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs := vfs.NewMem()
			b, err := broker.Open(broker.Config{FS: fs})
			require.NoError(t, err)
			createTopic(t, b, 1, "t")
			require.NoError(t, commitOffset(t, b, "g", "t", 0, 5))
			p := newRawProducer(t, b, "tx")
			test.run(t, b, p, func() {
				deleted, err := kadm.NewClient(p.client).DeleteTopics(within(t), "t")
				require.NoError(t, err)
				require.NoError(t, deleted["t"].Err)
			})
			require.NoError(t, p.end(true, 5))
			requireNoOffsets(t, b)
			createTopic(t, b, 1, "t")
			requireNoOffsets(t, b)
			require.NoError(t, b.Close())
			b = brokertest.New(t, brokertest.On(fs))
			requireNoOffsets(t, b)
		})
	}
}
