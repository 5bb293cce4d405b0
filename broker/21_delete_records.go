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
// Offset -1 stands for the high watermark.
func (b *Broker) handleDeleteRecords(_ context.Context, r *request) completion {
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
				if kerror == nil && isInternal(t.Topic) {
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
