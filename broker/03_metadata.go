package broker

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderEpoch is that of every partition: the only node has always been the leader.
const leaderEpoch = 0

// Metadata: v0-13
//
// Version notes:
//   - v0: no topics means all; from v1 on null does, and no topics means none
//   - v4: the client says whether missing topics may be made
//   - v8: authorized operations, up to v10 the cluster's, too
//   - v9: flexible
//   - v10: topic ids
//   - v12: topics may be asked for by id
//   - v13: an error for the whole
//
// As in Apache Kafka, a topic that is named several times is described once.
func (b *broker) handleMetadata(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID = nodeID
	broker.Host, broker.Port = b.server.advertised(r)
	resp.Brokers = append(resp.Brokers, broker)
	resp.ClusterID = kmsg.StringPtr(b.clusterID)
	resp.ControllerID = nodeID
	resp.AuthorizedOperations = authorized(kmsg.ACLResourceTypeCluster, req.IncludeClusterAuthorizedOperations)
	asked := req.IncludeTopicAuthorizedOperations
	resp.Topics = []kmsg.MetadataResponseTopic{}
	set := b.topics.load()
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range set.byName {
			resp.Topics = append(resp.Topics, t.metadata(asked))
		}
		slices.SortFunc(resp.Topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
		return ready(resp)
	}
	mayCreate := b.cfg.AutoCreateTopics && (req.Version < 4 || req.AllowAutoTopicCreation)
	missing := false
	resp.Topics = make([]kmsg.MetadataResponseTopic, 0, len(req.Topics))
	seen := make(map[partitionKey]bool, len(req.Topics))
	for i := range req.Topics {
		key := partitionKey{id: req.Topics[i].TopicID}
		if name := req.Topics[i].Topic; name != nil {
			key = partitionKey{topic: *name}
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		t := b.describeTopic(set, &req.Topics[i], req.Version, asked)
		missing = missing || t.ErrorCode == kerr.UnknownTopicOrPartition.Code && t.Topic != nil
		resp.Topics = append(resp.Topics, t)
	}
	if !missing || !mayCreate {
		return ready(resp)
	}
	return func(context.Context) (answer, error) {
		b.autoCreate(resp, asked)
		return answer{body: resp}, nil
	}
}

func (b *broker) describeTopic(set *topicSet, rt *kmsg.MetadataRequestTopic, version int16, asked bool,
) kmsg.MetadataResponseTopic {
	name, byID := "", rt.Topic == nil
	if !byID {
		name = *rt.Topic
	}
	t, err := set.find(name, rt.TopicID, byID)
	if err == nil {
		return t.metadata(asked)
	}
	if !byID && checkTopicName(name) != nil {
		err = kerr.InvalidTopicException
	}
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID = rt.Topic, rt.TopicID
	if byID && version < 12 {
		out.Topic = kmsg.StringPtr("")
	}
	out.ErrorCode = err.Code
	out.Partitions = []kmsg.MetadataResponseTopicPartition{}
	return out
}

// autoCreate makes the topics that are missing, as the client and the configuration allow.
func (b *broker) autoCreate(resp *kmsg.MetadataResponse, asked bool) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.ErrorCode != kerr.UnknownTopicOrPartition.Code || t.Topic == nil {
			continue
		}
		_, err := b.createTopic(newTopic{name: *t.Topic, partitions: -1, replicas: -1})
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			t.ErrorCode = code(err)
			continue
		}
		if made := b.topics.load().byName[*t.Topic]; made != nil {
			*t = made.metadata(asked)
		}
	}
}

func (t *topic) metadata(asked bool) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, isInternal(t.Name)
	out.AuthorizedOperations = authorized(kmsg.ACLResourceTypeTopic, asked)
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.partitions))
	for i, p := range t.partitions {
		part := kmsg.NewMetadataResponseTopicPartition()
		part.Partition, part.Leader, part.LeaderEpoch = p.index, nodeID, leaderEpoch
		part.Replicas, part.ISR, part.OfflineReplicas = []int32{nodeID}, []int32{nodeID}, []int32{}
		if p.log == nil { // requests are still sent here, and told why they fail
			part.ISR, part.OfflineReplicas = []int32{}, []int32{nodeID}
		}
		out.Partitions[i] = part
	}
	return out
}
