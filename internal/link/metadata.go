package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadata knows where partitions live. It is filled when asked about a topic that it doesn't know, and corrected
// when an answer shows that it is wrong.
type metadata struct {
	client *kgo.Client
	mu     sync.Mutex
	topics map[string]topicPlace
}

type topicPlace struct {
	id      [16]byte
	leaders []leader // by partition
}

type leader struct {
	node  int32 // -1 = none known
	epoch int32
}

func newMetadata(client *kgo.Client) *metadata {
	return &metadata{client: client, topics: make(map[string]topicPlace)}
}

// lookup returns what is known, without asking the broker.
func (m *metadata) lookup(tp TopicPartition) (place leader, id [16]byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.topics[tp.Topic]
	if !ok || tp.Partition < 0 || int(tp.Partition) >= len(t.leaders) || t.leaders[tp.Partition].node < 0 {
		return leader{node: -1, epoch: -1}, id, false
	}
	return t.leaders[tp.Partition], t.id, true
}

// id returns the topic's id, which newer request versions name it by; zero when it is not known.
func (m *metadata) id(topic string) [16]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.topics[topic].id
}

// ready tells whether every partition of the topic has a leader.
func (m *metadata) ready(topic string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.topics[topic]
	return ok && !slices.ContainsFunc(t.leaders, func(l leader) bool { return l.node < 0 })
}

// forget makes the next lookup of the topic fail.
func (m *metadata) forget(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.topics, topic)
}

// refresh asks the broker about topics. The errors are by topic; err is that of the request.
func (m *metadata) refresh(ctx context.Context, topics []string) (map[string]error, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := m.client.RequestCachedMetadata(ctx, req, time.Millisecond)
	if err != nil {
		return nil, classified(fmt.Errorf("link: metadata: %w", err))
	}
	failed := make(map[string]error)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			failed[*t.Topic] = err
			delete(m.topics, *t.Topic)
			continue
		}
		place := topicPlace{id: t.TopicID, leaders: make([]leader, len(t.Partitions))}
		for j := range place.leaders {
			place.leaders[j] = leader{node: -1, epoch: -1}
		}
		for _, p := range t.Partitions {
			if p.Partition >= 0 && int(p.Partition) < len(place.leaders) {
				place.leaders[p.Partition] = leader{node: p.Leader, epoch: p.LeaderEpoch}
			}
		}
		m.topics[*t.Topic] = place
	}
	return failed, nil
}

// partitions returns the partition count of a topic, asking the broker when the topic is not known.
func (m *metadata) partitions(ctx context.Context, topic string) (int32, error) {
	for range 2 {
		m.mu.Lock()
		t, ok := m.topics[topic]
		m.mu.Unlock()
		if ok {
			return int32(len(t.leaders)), nil
		}
		failed, err := m.refresh(ctx, []string{topic})
		if err != nil {
			return 0, err
		}
		if err := failed[topic]; err != nil {
			return 0, err
		}
	}
	return 0, kerr.UnknownTopicOrPartition
}

// Partitions returns the partition count of a topic. A topic that the broker does not know is an error at once.
func (l *Link) Partitions(ctx context.Context, topic string) (n int32, err error) {
	var unknown error
	err = retry(ctx, l.cfg.RetryTimeout, fmt.Sprintf("partitions of topic %q", topic), nil,
		func(ctx context.Context) (err error) {
			if n, err = l.metadata.partitions(ctx, topic); isUnknownTopic(err) {
				unknown = fmt.Errorf("link: topic %q: %w%s", topic, err, advice(err))
				return nil
			}
			return err
		})
	return n, errors.Join(err, unknown)
}
