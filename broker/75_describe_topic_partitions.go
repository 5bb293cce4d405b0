package broker

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describedPartitionsMax is the most partitions of an answer: Apache Kafka's max.request.partition.size.limit.
const describedPartitionsMax = 2000

// DescribeTopicPartitions: v0
//
// Metadata in pieces: topics come in the order of their names, with at most as many partitions as are asked for, and
// the answer says where the next piece begins.
func (b *broker) handleDescribeTopicPartitions(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	resp.Topics = []kmsg.DescribeTopicPartitionsResponseTopic{}
	set, all := b.topics.load(), len(req.Topics) == 0
	var names []string
	if all {
		names = slices.Collect(maps.Keys(set.byName))
	}
	for i := range req.Topics {
		names = append(names, req.Topics[i].Topic)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	from := kmsg.NewDescribeTopicPartitionsRequestCursor()
	if req.Cursor != nil {
		from = *req.Cursor
		if from.Partition < 0 || !all && !slices.Contains(names, from.Topic) {
			for _, name := range names {
				resp.Topics = append(resp.Topics, undescribed(name, kerr.InvalidRequest.Code))
			}
			return ready(resp)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name < from.Topic })
	left := max(min(int(req.ResponsePartitionLimit), describedPartitionsMax), 1)
	for _, name := range names {
		first := 0
		if name == from.Topic {
			first = int(from.Partition)
		}
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
			break
		}
		t := set.byName[name]
		if t == nil {
			err := kerr.UnknownTopicOrPartition
			if checkTopicName(name) != nil {
				err = kerr.InvalidTopicException
			}
			resp.Topics = append(resp.Topics, undescribed(name, err.Code))
			continue
		}
		out, more := t.describe(first, left)
		resp.Topics = append(resp.Topics, out)
		if more {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: int32(first + left)}
			break
		}
		left -= len(out.Partitions)
	}
	return ready(resp)
}

// undescribed is a topic without an id and partitions.
func undescribed(name string, code int16) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.ErrorCode, out.IsInternal = kmsg.StringPtr(name), code, isInternal(name)
	out.Partitions = []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
	return out
}

// describe describes up to most partitions from one on, and tells whether there are more.
func (t *topic) describe(from, most int) (out kmsg.DescribeTopicPartitionsResponseTopic, more bool) {
	m := t.metadata(true)
	out = undescribed(t.Name, 0)
	out.TopicID, out.AuthorizedOperations = m.TopicID, m.AuthorizedOperations
	rest := m.Partitions[min(from, len(m.Partitions)):]
	more = len(rest) > most
	for _, p := range rest[:min(most, len(rest))] {
		part := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		part.Partition, part.LeaderID, part.LeaderEpoch = p.Partition, p.Leader, p.LeaderEpoch
		part.Replicas, part.ISR, part.OfflineReplicas = p.Replicas, p.ISR, p.OfflineReplicas
		part.EligibleLeaderReplicas, part.LastKnownELR = []int32{}, []int32{}
		out.Partitions = append(out.Partitions, part)
	}
	return out, more
}
