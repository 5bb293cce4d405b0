package broker_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/brokertest"
)

// What a cluster does with its replicas has one answer on one node, for each partition that is asked for.
func TestReplicasOfOneNode(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	client := brokertest.Client(t, b)

	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Topics = []kmsg.ElectLeadersRequestTopic{
		{Topic: "t", Partitions: []int32{0, 2}}, {Topic: "u", Partitions: []int32{0}},
	}
	elected, err := elect.RequestWith(within(t), client)
	require.NoError(t, err)
	require.Zero(t, elected.ErrorCode)
	require.Equal(t, kerr.ElectionNotNeeded.Code, elected.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, elected.Topics[0].Partitions[1].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, elected.Topics[1].Partitions[0].ErrorCode)
	elect.Topics = nil
	elected, err = elect.RequestWith(within(t), client)
	require.NoError(t, err)
	require.Empty(t, elected.Topics, "of all partitions those alone that changed")

	reassign := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	want := map[int32]*kerr.Error{
		0: nil, 1: kerr.NoReassignmentInProgress, 2: kerr.UnknownTopicOrPartition,
	}
	partitions := []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
		{Partition: 0, Replicas: []int32{1}}, {Partition: 1, Replicas: nil}, {Partition: 2, Replicas: []int32{1}},
	}
	reassign.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: partitions}}
	reassigned, err := reassign.RequestWith(within(t), client)
	require.NoError(t, err)
	require.Len(t, reassigned.Topics[0].Partitions, 3)
	for _, p := range reassigned.Topics[0].Partitions {
		if want[p.Partition] == nil {
			require.Zero(t, p.ErrorCode)
			continue
		}
		require.Equal(t, want[p.Partition].Code, p.ErrorCode, "partition %d", p.Partition)
	}
	for _, replicas := range [][]int32{{}, {2}, {1, 2}, {1, 1}} {
		reassign.Topics[0].Partitions = reassign.Topics[0].Partitions[:1]
		reassign.Topics[0].Partitions[0].Replicas = replicas
		reassigned, err = reassign.RequestWith(within(t), client)
		require.NoError(t, err)
		require.Equal(t, kerr.InvalidReplicaAssignment.Code, reassigned.Topics[0].Partitions[0].ErrorCode, "%v", replicas)
	}
	listed, err := kmsg.NewPtrListPartitionReassignmentsRequest().RequestWith(within(t), client)
	require.NoError(t, err)
	require.Zero(t, listed.ErrorCode)
	require.Empty(t, listed.Topics)

	dirs, err := kmsg.NewPtrDescribeLogDirsRequest().RequestWith(within(t), client)
	require.NoError(t, err)
	move := kmsg.NewPtrAlterReplicaLogDirsRequest()
	for _, dir := range []string{dirs.Dirs[0].Dir, "/elsewhere"} {
		one := kmsg.NewAlterReplicaLogDirsRequestDir()
		one.Dir = dir
		one.Topics = []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "t", Partitions: []int32{0, 9}}}
		move.Dirs = append(move.Dirs, one)
	}
	moved, err := move.RequestWith(within(t), client.Broker(1)) // the client would split it by leaders
	require.NoError(t, err)
	require.Zero(t, moved.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, moved.Topics[0].Partitions[1].ErrorCode)
	require.Equal(t, kerr.LogDirNotFound.Code, moved.Topics[1].Partitions[0].ErrorCode)
}

func TestConfigResourcesAreListed(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	createTopic(t, b, 1, "a")
	client := brokertest.Client(t, b)
	list := func(kinds ...int8) (names []string, code int16) {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = kinds
		resp, err := req.RequestWith(within(t), client)
		require.NoError(t, err)
		for _, r := range resp.ConfigResources {
			names = append(names, r.Name)
		}
		return names, resp.ErrorCode
	}
	all, code := list()
	require.Zero(t, code)
	require.Equal(t, []string{"1", "__consumer_offsets", "__transaction_state", "a", "t"}, all)
	topics, code := list(2)
	require.Zero(t, code)
	require.Equal(t, all[1:], topics)
	none, code := list(16, 32)
	require.Zero(t, code)
	require.Empty(t, none)
	_, code = list(3)
	require.Equal(t, kerr.UnsupportedVersion.Code, code)
}

// Partitions are described in pieces of any size, in the order of their topics' names, and each once.
func TestTopicPartitionsAreDescribedInPieces(t *testing.T) {
	b := brokertest.New(t)
	for name, partitions := range map[string]int32{"a": 3, "b": 1, "c": 2} {
		createTopic(t, b, partitions, name)
	}
	client := brokertest.Client(t, b)
	describe := func(req *kmsg.DescribeTopicPartitionsRequest) *kmsg.DescribeTopicPartitionsResponse {
		resp, err := req.RequestWith(within(t), client.Broker(1))
		require.NoError(t, err)
		return resp
	}
	whole := []string{"a-0", "a-1", "a-2", "b-0", "c-0", "c-1"}
	for limit := range int32(8) {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "c"}, {Topic: "a"}, {Topic: "b"}, {Topic: "a"}}
		req.ResponsePartitionLimit = limit
		var got []string
		for {
			resp, some := describe(req), int32(0)
			for _, topic := range resp.Topics {
				require.Zero(t, topic.ErrorCode)
				require.NotEqual(t, [16]byte{}, topic.TopicID)
				require.Positive(t, topic.AuthorizedOperations)
				for _, p := range topic.Partitions {
					require.Equal(t, []int32{1}, p.Replicas)
					got = append(got, fmt.Sprintf("%s-%d", *topic.Topic, p.Partition))
					some++
				}
			}
			require.LessOrEqual(t, some, max(limit, 1))
			if resp.NextCursor == nil {
				break
			}
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{
				Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition,
			}
		}
		require.Equal(t, whole, got, "%d at a time", limit)
	}

	every := describe(kmsg.NewPtrDescribeTopicPartitionsRequest())
	require.Equal(t, "__consumer_offsets", *every.Topics[0].Topic)
	require.True(t, every.Topics[0].IsInternal)

	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "gone"}, {Topic: "no good"}}
	unknown := describe(req)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, unknown.Topics[0].ErrorCode)
	require.Equal(t, kerr.InvalidTopicException.Code, unknown.Topics[1].ErrorCode)
	for _, c := range []kmsg.DescribeTopicPartitionsRequestCursor{{Topic: "elsewhere"}, {Topic: "gone", Partition: -1}} {
		req.Cursor = &c
		for _, topic := range describe(req).Topics {
			require.Equal(t, kerr.InvalidRequest.Code, topic.ErrorCode)
		}
	}
}

func TestTheQuorumIsOneVoter(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	client := brokertest.Client(t, b)
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{
		Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}},
	}}
	resp, err := req.RequestWith(within(t), client.Broker(1))
	require.NoError(t, err)
	require.Zero(t, resp.ErrorCode)
	p := resp.Topics[0].Partitions[0]
	require.Zero(t, p.ErrorCode)
	require.EqualValues(t, 1, p.LeaderID)
	require.Len(t, p.CurrentVoters, 1)
	require.EqualValues(t, 1, p.CurrentVoters[0].ReplicaID)
	require.Positive(t, p.HighWatermark, "the topic's record is there")
	require.GreaterOrEqual(t, p.CurrentVoters[0].LogEndOffset, p.HighWatermark)
	require.Positive(t, p.CurrentVoters[0].LastCaughtUpTimestamp)
	require.Empty(t, p.Observers)
	require.EqualValues(t, 1, resp.Nodes[0].NodeID)
	require.NotEmpty(t, resp.Nodes[0].Listeners)

	req.Topics[0].Topic = "t"
	resp, err = req.RequestWith(within(t), client.Broker(1))
	require.NoError(t, err)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[0].Partitions[0].ErrorCode)
	require.Empty(t, resp.Nodes)
}
