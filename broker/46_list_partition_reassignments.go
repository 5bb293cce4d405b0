package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments: v0
//
// None is ever in progress: see AlterPartitionReassignments.
func (b *broker) handleListPartitionReassignments(_ context.Context, r *request) completion {
	resp := r.body.(*kmsg.ListPartitionReassignmentsRequest).ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	resp.Topics = []kmsg.ListPartitionReassignmentsResponseTopic{}
	return ready(resp)
}
