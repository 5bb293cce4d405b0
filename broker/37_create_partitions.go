package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions: v0-3
//
// Version notes:
//   - v2: flexible
func (b *broker) handleCreatePartitions(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.CreatePartitionsRequest)
	return func(context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
		resp.Topics = []kmsg.CreatePartitionsResponseTopic{}
		for i := range req.Topics {
			out := kmsg.NewCreatePartitionsResponseTopic()
			out.Topic = req.Topics[i].Topic
			err := b.createPartitions(out.Topic, req.Topics[i].Count, req.ValidateOnly)
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
			resp.Topics = append(resp.Topics, out)
		}
		return answer{body: resp}, nil
	}
}

func (b *broker) createPartitions(name string, count int32, validateOnly bool) error {
	b.admin.Lock()
	defer b.admin.Unlock()
	set := b.topics.load()
	t, kerror := set.find(name, [16]byte{}, false)
	switch {
	case kerror != nil:
		return kerror
	case isInternal(name):
		return &textError{kerr.InvalidTopicException, "topic " + name + " is the broker's own"}
	case int(count) <= len(t.partitions):
		return &textError{kerr.InvalidPartitions,
			fmt.Sprintf("topic has %d partitions already, %d are asked for", len(t.partitions), count)}
	case set.count+int(count)-len(t.partitions) > b.cfg.MaxTopicPartitions:
		return &textError{kerr.PolicyViolation,
			fmt.Sprintf("the partitions of all topics would exceed the limit of %d", b.cfg.MaxTopicPartitions)}
	case validateOnly:
		return nil
	}
	next := *t.Topic
	next.Partitions = count
	if err := b.grow(&next, int32(len(t.partitions))); err != nil {
		return b.storageError(err)
	}
	return nil
}
