package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataTopic is what Apache Kafka calls the log of a cluster's metadata.
const metadataTopic = "__cluster_metadata"

// DescribeQuorum: v0-2
//
// The one broker is the only voter, and the leader, of its log of metadata.
//
// Version notes:
//   - v1: when a replica fetched last, and was caught up; the leader is so now
//   - v2: messages, directories, addresses of voters
func (b *broker) handleDescribeQuorum(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeQuorumRequest)
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	valid := len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic && len(req.Topics[0].Partitions) == 1 &&
		req.Topics[0].Partitions[0].Partition == 0
	for i := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, asked := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = asked.Partition
			if valid {
				b.describeQuorum(&p)
			} else {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if valid {
		listener := kmsg.NewDescribeQuorumResponseNodeListener()
		host, port := b.server.advertised(r)
		listener.Name, listener.Host, listener.Port = "CONTROLLER", host, uint16(port)
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID, node.Listeners = nodeID, append(node.Listeners, listener)
		resp.Nodes = append(resp.Nodes, node)
	}
	return ready(resp)
}

func (b *broker) describeQuorum(p *kmsg.DescribeQuorumResponseTopicPartition) {
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = nodeID, leaderEpoch, b.metaLog.HighWatermark()
	voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	voter.ReplicaID, voter.LogEndOffset = nodeID, b.metaLog.End()
	now := b.cfg.Clock.Now().UnixMilli()
	voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = now, now
	p.CurrentVoters = append(p.CurrentVoters, voter)
}
