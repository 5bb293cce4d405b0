package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat: v0-4
//
// Version notes:
//   - v3: static members
//   - v4: flexible
func (b *broker) handleHeartbeat(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.HeartbeatRequest)
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	_, err := b.groups.View(func(now time.Time) { resp.ErrorCode = kcode(b.groupMachine.Heartbeat(req, now)) })
	if err != nil {
		resp.ErrorCode = b.coordinatorError(err).Code
	}
	return ready(resp)
}
