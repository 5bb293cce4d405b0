package link

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RemoveMembers takes those members out of a group whose client id dead names, so that it need not wait for the end
// of their sessions. A group that does not exist has none.
func (l *Link) RemoveMembers(ctx context.Context, group string, dead func(clientID string) bool) (
	removed int, err error,
) {
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{group}
	described, err := request(ctx, l.cfg.RetryTimeout, "describe group "+group, nil,
		func(ctx context.Context) (*kmsg.DescribeGroupsResponse, error) {
			return describe.RequestWith(ctx, l.client)
		},
		func(*kmsg.DescribeGroupsResponse) error { return nil })
	if err != nil {
		return 0, err
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, g := range described.Groups {
		for _, m := range g.Members {
			if m.InstanceID == nil && dead(m.ClientID) {
				gone := kmsg.NewLeaveGroupRequestMember()
				gone.MemberID = m.MemberID
				leave.Members = append(leave.Members, gone)
			}
		}
	}
	if len(leave.Members) == 0 {
		return 0, nil
	}
	_, err = request(ctx, l.cfg.RetryTimeout, "remove dead members from group "+group, nil,
		func(ctx context.Context) (*kmsg.LeaveGroupResponse, error) { return leave.RequestWith(ctx, l.client) },
		func(r *kmsg.LeaveGroupResponse) error { return kerr.ErrorForCode(r.ErrorCode) })
	if err != nil {
		return 0, err
	}
	return len(leave.Members), nil
}
