package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments: v0-1
//
// A partition has the one replica that there can be: to ask for it changes nothing, to ask for another is refused, and
// there is never a reassignment to cancel.
//
// Version notes:
//   - v1: whether the number of replicas may change; it cannot
func (b *broker) handleAlterPartitionReassignments(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.Topics = []kmsg.AlterPartitionAssignmentsResponseTopic{}
	set := b.topics.load()
	for i := range req.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, asked := range req.Topics[i].Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = asked.Partition
			err := reassign(set, out.Topic, asked)
			p.ErrorCode, p.ErrorMessage = code(err), message(err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return ready(resp)
}

// reassign tells why a partition cannot have the replicas that are asked for; nil: it has them.
func reassign(set *topicSet, topic string, asked kmsg.AlterPartitionAssignmentsRequestTopicPartition) error {
	switch {
	case !set.byName[topic].has(asked.Partition):
		return &textError{kerr.UnknownTopicOrPartition, fmt.Sprintf("there is no partition %s-%d", topic, asked.Partition)}
	case asked.Replicas == nil:
		return &textError{kerr.NoReassignmentInProgress, kerr.NoReassignmentInProgress.Description}
	case len(asked.Replicas) == 0:
		return &textError{kerr.InvalidReplicaAssignment, "the list of replicas is empty"}
	}
	for i, id := range asked.Replicas {
		switch {
		case id != nodeID:
			return &textError{kerr.InvalidReplicaAssignment, fmt.Sprintf("there is no broker %d", id)}
		case slices.Contains(asked.Replicas[:i], id):
			return &textError{kerr.InvalidReplicaAssignment, fmt.Sprintf("broker %d is there twice", id)}
		}
	}
	return nil
}
