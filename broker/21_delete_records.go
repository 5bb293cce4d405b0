package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords: v0-2
//
// Version notes:
//   - v2: flexible
//
// Offset -1 stands for the high watermark; other negative offsets are out of range. As in Kafka, records of a topic
// that is compacted and never deleted cannot be removed this way: state that is rebuilt from it would miss rows.
func (b *broker) handleDeleteRecords(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DeleteRecordsRequest)
	return func(context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
		set := b.topics.load()
		for i := range req.Topics {
			t := kmsg.NewDeleteRecordsResponseTopic()
			t.Topic = req.Topics[i].Topic
			for j := range req.Topics[i].Partitions {
				rp := &req.Topics[i].Partitions[j]
				part := kmsg.NewDeleteRecordsResponseTopicPartition()
				part.Partition, part.LowWatermark = rp.Partition, -1
				p, kerror := set.partition(t.Topic, rp.Partition)
				if kerror == nil && (isInternal(t.Topic) || p.onlyCompacted()) {
					kerror = kerr.PolicyViolation
				}
				if kerror != nil {
					part.ErrorCode = kerror.Code
				} else if start, err := p.log.TrimTo(rp.Offset); err != nil {
					part.ErrorCode = code(b.appendError(p, err))
				} else {
					part.LowWatermark = start
				}
				t.Partitions = append(t.Partitions, part)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return answer{body: resp}, nil
	}
}

// onlyCompacted reports whether the partition's policy is compact without delete.
func (p *partition) onlyCompacted() bool {
	config := p.log.Config()
	return config.Compact && !config.Delete
}
