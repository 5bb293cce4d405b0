package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConfirmMember asks the group's coordinator whether this link is a member of the group. While it is, what it was
// assigned and has not given back is nobody else's, also during a rebalance. A client alone cannot know that: it learns
// by its next heartbeat that its session has ended. The client may have joined again by then under another id, so the
// question is about the id that the partitions were assigned to.
func (l *Link) ConfirmMember(ctx context.Context) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group = l.cfg.Group
	req.MemberID, req.Generation = l.client.GroupMetadata()
	if id, ok := l.group.member.Load().(string); ok {
		req.MemberID = id
	}
	if l.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(l.cfg.InstanceID)
	}
	resp, err := req.RequestWith(ctx, l.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	// A coordinator looks for the member first, and for its generation then.
	if err == nil || errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration) {
		return nil
	}
	return classified(fmt.Errorf("link: membership of group %s: %w", l.cfg.Group, err))
}
