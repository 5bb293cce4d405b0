package kclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConfirmMember asks the group's coordinator whether this client is a member of the group. While it is, what it was
// assigned and has not given back is nobody else's, also during a rebalance. A client alone cannot know that: it learns
// by its next heartbeat that its session has ended. The client may have joined again by then under another id, so the
// question is about the id that the partitions were assigned to.
func (c *Client) ConfirmMember(ctx context.Context) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group = c.cfg.Group
	req.MemberID, req.Generation = c.client.GroupMetadata()
	if id, ok := c.group.member.Load().(string); ok {
		req.MemberID = id
	}
	if c.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(c.cfg.InstanceID)
	}
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	// A coordinator looks for the member first, and for its generation then.
	if err == nil || errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration) {
		return nil
	}
	return classified(fmt.Errorf("kclient: membership of group %s: %w", c.cfg.Group, err))
}
