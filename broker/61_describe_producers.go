package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers: v0
func (b *broker) handleDescribeProducers(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeProducersRequest)
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	set := b.topics.load()
	for i := range req.Topics {
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, index := range req.Topics[i].Partitions {
			part := kmsg.NewDescribeProducersResponseTopicPartition()
			part.Partition = index
			p, err := set.partition(t.Topic, index)
			if err != nil {
				part.ErrorCode, part.ErrorMessage = err.Code, kmsg.StringPtr(err.Description)
				t.Partitions = append(t.Partitions, part)
				continue
			}
			for _, info := range p.log.Producers() {
				active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				active.ProducerID, active.ProducerEpoch = info.ProducerID, int32(info.ProducerEpoch)
				active.LastSequence, active.LastTimestamp = info.LastSequence, info.LastTimestamp
				active.CoordinatorEpoch, active.CurrentTxnStartOffset = info.CoordinatorEpoch, info.TxnFirstOffset
				part.ActiveProducers = append(part.ActiveProducers, active)
			}
			t.Partitions = append(t.Partitions, part)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return ready(resp)
}
