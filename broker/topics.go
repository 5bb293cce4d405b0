package broker

import (
	"fmt"
	"iter"
	"maps"
	"strconv"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
	"thalweg/internal/direct"
)

// Names of the logs that the broker itself writes.
const (
	metadataName = "__thalweg_metadata" // a log, not a topic
	offsetsTopic = "__consumer_offsets"
	txnTopic     = "__transaction_state"
)

const minInsyncReplicas = "min.insync.replicas"

func isInternal(topic string) bool { return topic == offsetsTopic || topic == txnTopic }

// topic is a topic with its open logs. It is never changed: topicSet.with puts another in its place.
type topic struct {
	*meta.Topic
	partitions []*partition
}

// partition is one partition. It lives until its topic is deleted or the broker closes.
type partition struct {
	topic string
	index int32
	log   *log.Log // nil while the partition is offline: its log could not be opened
	// replicas is what acks=all asks for (min.insync.replicas). There is one.
	replicas atomic.Int64
}

// configure gives a partition its topic's configurations.
func (b *broker) configure(p *partition, t *meta.Topic) {
	replicas := b.topicConfig(minInsyncReplicas).standard
	if set, ok := t.Configs[minInsyncReplicas]; ok {
		replicas = set
	}
	n, _ := strconv.ParseInt(replicas, 10, 64) // it was checked
	p.replicas.Store(n)
	if p.log != nil {
		p.log.SetConfig(b.logConfig(t))
	}
}

// topicSet is all topics at one moment.
type topicSet struct {
	byName map[string]*topic
	byID   map[[16]byte]*topic
	count  int // of partitions
}

// topics is what requests look partitions up in, without a lock. Broker.admin is held to change it.
type topics struct{ set atomic.Pointer[topicSet] }

func (t *topics) load() *topicSet { return t.set.Load() }

func (t *topics) put(changed *topic) {
	t.change(func(s *topicSet) { s.add(changed) })
}

func (s *topicSet) add(t *topic) {
	s.byName[t.Name] = t
	s.byID[t.ID] = t
}

func (t *topics) remove(gone map[*topic]bool) {
	t.change(func(s *topicSet) {
		for topic := range gone {
			delete(s.byName, topic.Name)
			delete(s.byID, topic.ID)
		}
	})
}

func (t *topics) change(f func(*topicSet)) {
	next := &topicSet{byName: map[string]*topic{}, byID: map[[16]byte]*topic{}}
	if old := t.set.Load(); old != nil {
		maps.Copy(next.byName, old.byName)
		maps.Copy(next.byID, old.byID)
	}
	f(next)
	for _, topic := range next.byName {
		next.count += len(topic.partitions)
	}
	t.set.Store(next)
}

// partition finds a partition by its topic's name.
func (s *topicSet) partition(name string, index int32) (*partition, *kerr.Error) {
	return s.byName[name].at(index)
}

// partitionOf finds a partition by its topic's name, and by its id where there is one.
func (s *topicSet) partitionOf(p *direct.FetchPartition) (*partition, *kerr.Error) {
	t := s.byName[p.Topic]
	if p.TopicID != [16]byte{} && (t == nil || t.ID != p.TopicID) {
		return nil, kerr.UnknownTopicID
	}
	return t.at(p.Partition)
}

// online returns the partitions that are open.
func (s *topicSet) online() iter.Seq[*partition] {
	return func(yield func(*partition) bool) {
		for _, t := range s.byName {
			for _, p := range t.partitions {
				if p.log != nil && !yield(p) {
					return
				}
			}
		}
	}
}

// find finds a topic by name, or by id when byID is set.
func (s *topicSet) find(name string, id [16]byte, byID bool) (*topic, *kerr.Error) {
	if byID {
		if t := s.byID[id]; t != nil {
			return t, nil
		}
		return nil, kerr.UnknownTopicID
	}
	if t := s.byName[name]; t != nil {
		return t, nil
	}
	return nil, kerr.UnknownTopicOrPartition
}

// has tells whether a topic, which may be nil, has the partition, online or not.
func (t *topic) has(index int32) bool {
	return t != nil && index >= 0 && int(index) < len(t.partitions)
}

// at returns a partition of a topic that may be nil. One that is offline is KAFKA_STORAGE_ERROR.
func (t *topic) at(index int32) (*partition, *kerr.Error) {
	switch {
	case !t.has(index):
		return nil, kerr.UnknownTopicOrPartition
	case t.partitions[index].log == nil:
		return nil, kerr.KafkaStorageError
	}
	return t.partitions[index], nil
}

// checkTopicName applies Kafka's rules. They also make names safe as names of directories.
func checkTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("topic name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("topic name %q is not allowed", name)
	case len(name) > 249:
		return fmt.Errorf("topic name has %d characters, at most 249 are allowed", len(name))
	case name == metadataName:
		return fmt.Errorf("topic name %q is the broker's own", name)
	}
	for _, c := range []byte(name) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Errorf("topic name %q has a character other than ASCII letters, digits, '.', '_' and '-'", name)
		}
	}
	return nil
}

func partitionDir(topic string, index int32) string { return topic + "-" + strconv.Itoa(int(index)) }
