package broker

import (
	"context"
	"fmt"

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
		for i, d := range b.deleteTopics(topics) {
			out := kmsg.NewDeleteTopicsResponseTopic()
			out.Topic, out.TopicID = topics[i].Topic, topics[i].TopicID
			if d.topic != nil {
				out.Topic, out.TopicID = kmsg.StringPtr(d.topic.Name), d.topic.ID
			}
			out.ErrorCode, out.ErrorMessage = code(d.err), message(d.err)
			resp.Topics = append(resp.Topics, out)
		}
		return answer{body: resp}, nil
	}
}

// deletion is what became of a topic that was to be deleted. topic is nil where there is none.
type deletion struct {
	topic *topic
	err   error
}

// deleteTopics deletes topics with their offsets in groups. A topic is deleted once that is recorded. Then the names of
// its directories are free for another topic of its name; the files go later, in the background. What a crash or a
// failure leaves is removed at the next start: the metadata remembers it, or the names of the directories say it.
func (b *broker) deleteTopics(wanted []kmsg.DeleteTopicsRequestTopic) []deletion {
	b.admin.Lock()
	defer b.admin.Unlock()
	all := make([]deletion, len(wanted))
	recorded := map[*topic]bool{}
	last := int64(-1)
	for i := range wanted {
		d := &all[i]
		if d.topic, d.err = b.deletable(&wanted[i], recorded); d.err != nil {
			continue
		}
		lsn, err := b.noteMetadata(func() (coord.Step, error) { return b.metaMachine.DeleteTopic(d.topic.Topic) })
		if err != nil {
			d.err = b.storageError(err)
			continue
		}
		recorded[d.topic], last = true, lsn
	}
	if len(recorded) == 0 {
		return all
	}
	if err := b.waitDurable(b.meta, last); err != nil {
		failed := b.storageError(fmt.Errorf("%w: %w", errUndecided, err))
		for i := range all {
			if all[i].err == nil {
				all[i].err = failed
			}
		}
		return all
	}
	b.topics.remove(recorded)
	var left []meta.Removal
	for t := range recorded {
		for _, p := range t.partitions {
			if p.log == nil {
				continue
			}
			if err := p.log.Release(); err != nil {
				b.cfg.Logger.Warn("broker: close a deleted partition", "topic", p.topic, "partition", p.index, "err", err)
			}
		}
		left = append(left, meta.Removal{Name: t.Name, End: t.Partitions})
	}
	// The topics are deleted. What is left of them only blocks new topics of the same names.
	b.finishRemovals(left)
	return all
}

// deletable finds a topic that a request wants to be deleted. One that it names twice is gone the second time.
func (b *broker) deletable(wanted *kmsg.DeleteTopicsRequestTopic, gone map[*topic]bool) (*topic, error) {
	name := ""
	if wanted.Topic != nil {
		name = *wanted.Topic
	}
	t, kerror := b.topics.load().find(name, wanted.TopicID, wanted.Topic == nil)
	switch {
	case kerror != nil:
		return nil, kerror
	case gone[t] && wanted.Topic == nil:
		return nil, kerr.UnknownTopicID
	case gone[t]:
		return nil, kerr.UnknownTopicOrPartition
	case isInternal(t.Name):
		return t, &textError{kerr.InvalidTopicException, "topic " + t.Name + " is the broker's own"}
	}
	return t, nil
}
