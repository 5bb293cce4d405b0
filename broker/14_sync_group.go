package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// SyncGroup: v0-5
//
// Version notes:
//   - v3: static members
//   - v4: flexible
//   - v5: protocol type and name, checked
func (b *broker) handleSyncGroup(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.SyncGroupRequest)
	w := newWaiter[*kmsg.SyncGroupResponse](b.groups)
	_, err := b.groups.Do(func(now time.Time) coord.Step { return b.groupMachine.Sync(req, w.reply, now) })
	return func(ctx context.Context) (answer, error) {
		resp, failed := w.wait(ctx, err)
		if failed != nil {
			resp = req.ResponseKind().(*kmsg.SyncGroupResponse)
			resp.ErrorCode = b.coordinatorError(failed).Code
		}
		resp.Version = req.Version
		if resp.MemberAssignment == nil {
			resp.MemberAssignment = []byte{}
		}
		return answer{body: resp}, nil
	}
}
