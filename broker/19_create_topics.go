package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/meta"
)

// CreateTopics: v0-7
//
// Version notes:
//   - v1: validate only, messages
//   - v4: defaults of the broker, asked for by -1
//   - v5: flexible; partition count, replication factor and configurations in the answer
//   - v7: topic ids
//
// Java's clients need empty arrays where there is nothing, and not null.
func (b *broker) handleCreateTopics(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.CreateTopicsRequest)
	return func(context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		resp.Topics = []kmsg.CreateTopicsResponseTopic{}
		named := map[string]int{}
		for i := range req.Topics {
			named[req.Topics[i].Topic]++
		}
		for i := range req.Topics {
			rt := &req.Topics[i]
			out := kmsg.NewCreateTopicsResponseTopic()
			out.Topic, out.NumPartitions, out.ReplicationFactor = rt.Topic, -1, -1
			out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
			var made *meta.Topic
			err := error(&textError{kerr.InvalidRequest, "topic " + rt.Topic + " is named twice in the request"})
			if named[rt.Topic] == 1 {
				made, err = b.createTopic(wantedTopic(rt, req.ValidateOnly))
			}
			if out.ErrorCode, out.ErrorMessage = code(err), message(err); err == nil {
				out.NumPartitions, out.ReplicationFactor = made.Partitions, 1
				if !req.ValidateOnly {
					out.TopicID = made.ID
				}
				out.Configs = b.createdConfigs(made)
			}
			resp.Topics = append(resp.Topics, out)
		}
		return answer{body: resp}, nil
	}
}

// newTopic is a topic to be made; -1 means the broker's default.
type newTopic struct {
	name         string
	partitions   int32
	replicas     int
	assignments  []kmsg.CreateTopicsRequestTopicReplicaAssignment
	configs      map[string]string
	validateOnly bool
}

func wantedTopic(rt *kmsg.CreateTopicsRequestTopic, validateOnly bool) newTopic {
	t := newTopic{
		name: rt.Topic, partitions: rt.NumPartitions, replicas: int(rt.ReplicationFactor),
		assignments: rt.ReplicaAssignment, validateOnly: validateOnly, configs: map[string]string{},
	}
	for _, c := range rt.Configs {
		if c.Value != nil { // null means the default
			t.configs[c.Name] = *c.Value
		}
	}
	return t
}

// createTopic makes a topic: it exists once its record is durable.
func (b *broker) createTopic(t newTopic) (*meta.Topic, error) {
	b.admin.Lock()
	defer b.admin.Unlock()
	if err := b.checkNewTopic(&t); err != nil {
		return nil, err
	}
	mt := &meta.Topic{Name: t.name, ID: newID(), Partitions: t.partitions, Configs: t.configs}
	if t.validateOnly {
		return mt, nil
	}
	if err := b.grow(mt, 0); err != nil {
		return nil, b.storageError(err)
	}
	return mt, nil
}

func (b *broker) checkNewTopic(t *newTopic) error {
	set := b.topics.load()
	if err := checkTopicName(t.name); err != nil {
		return &textError{kerr.InvalidTopicException, err.Error()}
	}
	if set.byName[t.name] != nil {
		return &textError{kerr.TopicAlreadyExists, "Topic '" + t.name + "' already exists."}
	}
	for name := range set.byName {
		if collide(t.name, name) {
			return &textError{kerr.InvalidTopicException,
				"Topic '" + t.name + "' collides with existing topic: " + name}
		}
	}
	if err := checkAssignments(t); err != nil {
		return err
	}
	if t.partitions == -1 {
		t.partitions = b.cfg.Partitions
	}
	switch {
	case t.partitions < 1:
		return &textError{kerr.InvalidPartitions, fmt.Sprintf("partition count %d: must be positive", t.partitions)}
	case set.count+int(t.partitions) > b.cfg.MaxTopicPartitions:
		return &textError{kerr.PolicyViolation,
			fmt.Sprintf("%d partitions beside the %d that there are exceed the limit of %d",
				t.partitions, set.count, b.cfg.MaxTopicPartitions)}
	case t.replicas != -1 && t.replicas != 1:
		return &textError{kerr.InvalidReplicationFactor,
			fmt.Sprintf("replication factor %d: this broker is the only one, ask for 1 or -1", t.replicas)}
	}
	return b.checkTopicConfigs(t.configs)
}

// collide tells whether Apache Kafka refuses to have both topics: its names of metrics have '_' for '.'.
func collide(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && (a[i] != '.' && a[i] != '_' || b[i] != '.' && b[i] != '_') {
			return false
		}
	}
	return true
}

// checkAssignments lets a client say where replicas shall lie, as long as that is here.
func checkAssignments(t *newTopic) error {
	if len(t.assignments) == 0 {
		return nil
	}
	if t.partitions != -1 || t.replicas != -1 {
		return &textError{kerr.InvalidRequest, "both an assignment of replicas and a number of them are given"}
	}
	seen := map[int32]bool{}
	for _, a := range t.assignments {
		if !slices.Equal(a.Replicas, []int32{nodeID}) || a.Partition < 0 || int(a.Partition) >= len(t.assignments) ||
			seen[a.Partition] {
			return &textError{kerr.InvalidReplicaAssignment,
				fmt.Sprintf("partition %d on brokers %v: the only broker is %d", a.Partition, a.Replicas, nodeID)}
		}
		seen[a.Partition] = true
	}
	t.partitions, t.replicas = int32(len(t.assignments)), 1
	return nil
}

func (b *broker) createdConfigs(t *meta.Topic) []kmsg.CreateTopicsResponseTopicConfig {
	configs := []kmsg.CreateTopicsResponseTopicConfig{}
	for _, c := range b.topicConfigs() {
		out := kmsg.NewCreateTopicsResponseTopicConfig()
		value, set := t.Configs[c.name]
		out.Name, out.Source = c.name, int8(kmsg.ConfigSourceDynamicTopicConfig)
		if !set {
			value, out.Source = c.standard, int8(c.inherited[0].source)
		}
		out.Value = kmsg.StringPtr(value)
		configs = append(configs, out)
	}
	return configs
}

// changeTopic gives an existing topic other configurations. b.admin is held.
func (b *broker) changeTopic(t *topic, configs map[string]string) error {
	next := *t.Topic
	next.Configs = configs
	if err := b.changeMetadata(func() (coord.Step, error) { return b.metaMachine.PutTopic(&next) }); err != nil {
		return b.storageError(err)
	}
	for _, p := range t.partitions {
		b.configure(p, &next)
	}
	b.topics.put(&topic{Topic: &next, partitions: t.partitions})
	return nil
}
