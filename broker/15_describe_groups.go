package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups: v0-6
//
// Version notes:
//   - v3: authorized operations
//   - v4: static members
//   - v5: flexible
//   - v6: GROUP_ID_NOT_FOUND, where older versions answer with a dead group; messages
func (b *broker) handleDescribeGroups(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeGroupsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	resp.Groups = []kmsg.DescribeGroupsResponseGroup{}
	_, err := b.groups.View(func(time.Time) {
		for _, id := range req.Groups {
			g, ok := b.groupMachine.Describe(id)
			g.AuthorizedOperations = authorized(kmsg.ACLResourceTypeGroup, req.IncludeAuthorizedOperations)
			if !ok && req.Version >= 6 {
				g.ErrorCode = kerr.GroupIDNotFound.Code
				g.ErrorMessage = kmsg.StringPtr("group " + id + " not found")
			}
			resp.Groups = append(resp.Groups, g)
		}
	})
	if err != nil {
		kerror := b.coordinatorError(err)
		for _, id := range req.Groups {
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode, g.ErrorMessage = id, kerror.Code, kmsg.StringPtr(kerror.Description)
			g.Members = []kmsg.DescribeGroupsResponseGroupMember{}
			resp.Groups = append(resp.Groups, g)
		}
	}
	return ready(resp)
}
