package kclient

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
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
	log    *slog.Logger
	mu     sync.Mutex
	topics map[string]topicPlace
	ids    map[string]TopicID // also of topics that are not known any more
}

type topicPlace struct {
	id      [16]byte
	leaders []leader // by partition
}

type leader struct {
	node  int32 // -1 = none known
	epoch int32
}

func newMetadata(client *kgo.Client, log *slog.Logger) *metadata {
	return &metadata{client: client, log: log, topics: make(map[string]topicPlace), ids: make(map[string]TopicID)}
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

// lacks tells that a topic is known and does not have the partition.
func (m *metadata) lacks(tp TopicPartition) (partitions int, lacks bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.topics[tp.Topic]
	return len(t.leaders), ok && int(tp.Partition) >= len(t.leaders)
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

// metadataRequest asks about these topics: of none of them about none, and not about all.
func metadataRequest(topics []string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// refresh asks the broker about topics. The errors are by topic; err is that of the request.
func (m *metadata) refresh(ctx context.Context, topics []string) (map[string]error, error) {
	resp, err := m.client.RequestCachedMetadata(ctx, metadataRequest(topics), time.Millisecond)
	if err != nil {
		return nil, classified(fmt.Errorf("kclient: metadata: %w", err))
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
		m.identify(*t.Topic, t.TopicID)
	}
	return failed, nil
}

// identify says when a topic is another one than before. It needs the mutex.
func (m *metadata) identify(topic string, id TopicID) {
	if was := m.ids[topic]; was != id && was != (TopicID{}) && id != (TopicID{}) {
		m.log.Warn("a topic was deleted and recreated while it was in use", "topic", topic,
			"was", hex.EncodeToString(was[:]), "now", hex.EncodeToString(id[:]))
	}
	m.ids[topic] = id
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

// PartitionCounts asks how many partitions topics have now. Those that can't be had are left out.
func (c *Client) PartitionCounts(ctx context.Context, topics ...string) (map[string]int32, error) {
	err := retry(ctx, c.cfg.RetryTimeout, "partition counts", nil, func(ctx context.Context) error {
		_, err := c.metadata.refresh(ctx, topics)
		return err
	})
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int32, len(topics))
	c.metadata.mu.Lock()
	defer c.metadata.mu.Unlock()
	for _, topic := range topics {
		if t, ok := c.metadata.topics[topic]; ok {
			counts[topic] = int32(len(t.leaders))
		}
	}
	return counts, nil
}

// MetadataAge is how old what a client knows of topics may become: kgo.MetadataMaxAge.
func (c *Client) MetadataAge() time.Duration {
	age, _ := c.client.OptValue(kgo.MetadataMaxAge).(time.Duration)
	return max(age, minMetadataAge)
}

// minMetadataAge is the least time between two questions to the broker about topics that may have changed.
const minMetadataAge = 100 * time.Millisecond

// Partitions returns the partition count of a topic. A topic that the broker does not know is an error at once.
func (c *Client) Partitions(ctx context.Context, topic string) (n int32, err error) {
	var unknown error
	err = retry(ctx, c.cfg.RetryTimeout, fmt.Sprintf("partitions of topic %q", topic), nil,
		func(ctx context.Context) (err error) {
			if n, err = c.metadata.partitions(ctx, topic); isUnknownTopic(err) {
				unknown = fmt.Errorf("kclient: topic %q: %w%s", topic, err, advice(err))
				return nil
			}
			return err
		})
	return n, errors.Join(err, unknown)
}
