package kclient

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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
	cfg := c.cfg
	cfg.Group, cfg.InstanceID = group, ""
	if err := takeOut(ctx, c.client, cfg, members...); err != nil {
		return 0, err
	}
	return len(members), nil
}

// takeOut tells the coordinator of a group that members are gone.
func takeOut(ctx context.Context, client *kgo.Client, cfg Config, members ...string) error {
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = cfg.Group
	for _, id := range members {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		if cfg.InstanceID != "" {
			m.InstanceID = kmsg.StringPtr(cfg.InstanceID)
		}
		leave.Members = append(leave.Members, m)
	}
	_, err := request(ctx, cfg.RetryTimeout, "remove members from group "+cfg.Group, nil,
		func(ctx context.Context) (*kmsg.LeaveGroupResponse, error) { return leave.RequestWith(ctx, client) },
		func(r *kmsg.LeaveGroupResponse) error { return kerr.ErrorForCode(r.ErrorCode) })
	return err
}

// leaveMax bounds each of the two ways to leave a group.
const leaveMax = 3 * time.Second

// leave says goodbye to the group, and once more over another connection when the client can't: a member that just
// falls silent keeps its partitions from the others until its session ends.
func (m *Member) leave() {
	try := func(leave func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), leaveMax)
		defer cancel()
		return leave(ctx)
	}
	id, _ := m.client.GroupMetadata()
	err := try(m.client.LeaveGroupContext) // a static member stays in the group so
	if (err != nil || m.cfg.InstanceID != "") && id != "" {
		err = try(func(ctx context.Context) error { return takeOut(ctx, m.client, m.cfg, id) })
	}
	if err != nil {
		m.cfg.Logger.Warn("can't leave the group: it waits for the session to end", "group", m.cfg.Group, "err", err)
	}
}
