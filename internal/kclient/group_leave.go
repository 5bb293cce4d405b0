package kclient

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RemoveMembers takes those members out of a group whose client id dead names, so that it need not wait for the end
// of their sessions. A group that does not exist has none.
func (c *Client) RemoveMembers(ctx context.Context, group string, dead func(clientID string) bool) (
	removed int, err error,
) {
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{group}
	described, err := request(ctx, c.cfg.RetryTimeout, "describe group "+group, nil,
		func(ctx context.Context) (*kmsg.DescribeGroupsResponse, error) {
			return describe.RequestWith(ctx, c.client)
		},
		func(*kmsg.DescribeGroupsResponse) error { return nil })
	if err != nil {
		return 0, err
	}
	var members []string
	for _, g := range described.Groups {
		for _, m := range g.Members {
			if m.InstanceID == nil && dead(m.ClientID) {
				members = append(members, m.MemberID)
			}
		}
	}
	if len(members) == 0 {
		return 0, nil
	}
	if err := c.takeOut(ctx, group, members...); err != nil {
		return 0, err
	}
	return len(members), nil
}

// takeOut tells a group's coordinator that members are gone.
func (c *Client) takeOut(ctx context.Context, group string, members ...string) error {
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, id := range members {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		leave.Members = append(leave.Members, m)
	}
	_, err := request(ctx, c.cfg.RetryTimeout, "remove members from group "+group, nil,
		func(ctx context.Context) (*kmsg.LeaveGroupResponse, error) { return leave.RequestWith(ctx, c.client) },
		func(r *kmsg.LeaveGroupResponse) error { return kerr.ErrorForCode(r.ErrorCode) })
	return err
}

// leaveMax bounds each of the two ways to leave a group.
const leaveMax = 3 * time.Second

// leave says goodbye to the group, and once more over another connection when the client can't: a member that just
// falls silent keeps its partitions from the others until its session ends.
func (c *Client) leave() {
	try := func(leave func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), leaveMax)
		defer cancel()
		return leave(ctx)
	}
	member, _ := c.client.GroupMetadata()
	err := try(c.client.LeaveGroupContext)
	if err != nil && member != "" && c.cfg.InstanceID == "" {
		err = try(func(ctx context.Context) error { return c.takeOut(ctx, c.cfg.Group, member) })
	}
	if err != nil {
		c.log.Warn("can't leave the group: it waits for the session to end", "group", c.cfg.Group, "err", err)
	}
}
