package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders: v0-2
//
// The one broker leads every partition, so no election is ever needed. As in Apache Kafka, the answer to a request for
// all partitions has those alone for which there was something to do.
//
// Version notes:
//   - v1: the kind of election, an error for the whole
//   - v2: flexible
func (b *broker) handleElectLeaders(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.ElectLeadersRequest)
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	resp.Topics = []kmsg.ElectLeadersResponseTopic{}
	set := b.topics.load()
	for i := range req.Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, index := range req.Topics[i].Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = index
			err := kerr.ElectionNotNeeded
			if !set.byName[out.Topic].has(index) {
				err = kerr.UnknownTopicOrPartition
			}
			p.ErrorCode, p.ErrorMessage = err.Code, kmsg.StringPtr(err.Description)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return ready(resp)
}
