package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch: v2-4
//
// Version notes:
//   - v2: the leader epoch that the client knows
//   - v3: replica id
//   - v4: flexible
//
// The answer is the end of the largest epoch that is not above the one asked for.
func (b *broker) handleOffsetForLeaderEpoch(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	set := b.topics.load()
	for i := range req.Topics {
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			rp := &req.Topics[i].Partitions[j]
			part := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			part.Partition, part.LeaderEpoch, part.EndOffset = rp.Partition, -1, -1
			p, err := set.partition(t.Topic, rp.Partition)
			switch {
			case err != nil:
				part.ErrorCode = err.Code
			case rp.CurrentLeaderEpoch > leaderEpoch:
				part.ErrorCode = kerr.UnknownLeaderEpoch.Code
			default:
				part.LeaderEpoch, part.EndOffset = p.log.EndOfEpoch(rp.LeaderEpoch)
			}
			t.Partitions = append(t.Partitions, part)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return ready(resp)
}
