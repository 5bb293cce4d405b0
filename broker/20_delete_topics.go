package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/meta"
)

// DeleteTopics: v0-6
//
// Version notes:
//   - v4: flexible
//   - v5: messages
//   - v6: topic ids
func (b *broker) handleDeleteTopics(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DeleteTopicsRequest)
	return func(context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
		resp.Topics = []kmsg.DeleteTopicsResponseTopic{}
		topics := req.Topics
		for _, name := range req.TopicNames {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = kmsg.StringPtr(name)
			topics = append(topics, t)
		}
		for i := range topics {
			out := kmsg.NewDeleteTopicsResponseTopic()
			out.Topic, out.TopicID = topics[i].Topic, topics[i].TopicID
			name := ""
			if out.Topic != nil {
				name = *out.Topic
			}
			gone, err := b.deleteTopic(name, topics[i].TopicID, topics[i].Topic == nil)
			if gone != nil {
				out.Topic, out.TopicID = kmsg.StringPtr(gone.Name), gone.ID
			}
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
			resp.Topics = append(resp.Topics, out)
		}
		return answer{body: resp}, nil
	}
}

// deleteTopic removes a topic and its offsets in groups. Its files go in the background. What a crash or a failure
// leaves is removed at the next start, or before a topic of the same name is made: the metadata remembers it.
func (b *broker) deleteTopic(name string, id [16]byte, byID bool) (*topic, error) {
	b.admin.Lock()
	defer b.admin.Unlock()
	t, kerror := b.topics.load().find(name, id, byID)
	switch {
	case kerror != nil:
		return nil, kerror
	case isInternal(t.Name):
		return t, &textError{kerr.InvalidTopicException, "topic " + t.Name + " is the broker's own"}
	}
	err := b.changeMetadata(func() (coord.Step, error) { return b.metaMachine.DeleteTopic(t.Topic) })
	if err != nil {
		return t, b.storageError(err)
	}
	b.topics.remove(t)
	// The topic is deleted. What is left of it only keeps a new topic of the same name waiting.
	r := meta.Removal{Name: t.Name, End: t.Partitions}
	if err := b.forgetRemoved(r); err != nil {
		b.cfg.Logger.Warn("broker: delete the offsets of a deleted topic; it is tried once more", "topic", t.Name, "err", err)
	}
	b.removeLater(r, t.logs())
	return t, nil
}
