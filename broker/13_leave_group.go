package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
)

// LeaveGroup: v0-5
//
// Version notes:
//   - v3: several members, static ones by the name of their instance
//   - v4: flexible
//   - v5: reason
func (b *broker) handleLeaveGroup(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.LeaveGroupRequest)
	var leaving []group.Leaving
	if req.Version < 3 {
		leaving = append(leaving, group.Leaving{MemberID: req.MemberID})
	}
	for i := range req.Members {
		leaving = append(leaving, group.Leaving{MemberID: req.Members[i].MemberID, Instance: req.Members[i].InstanceID})
	}
	var errs []*kerr.Error
	lsn, err := b.groups.Do(func(now time.Time) (step coord.Step) {
		errs, step = b.groupMachine.Leave(req.Group, leaving, now)
		return step
	})
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		if err == nil {
			err = b.groups.Wait(ctx, lsn)
		}
		if err != nil {
			resp.ErrorCode = b.coordinatorError(err).Code
			return answer{body: resp}, nil
		}
		if req.Version < 3 {
			resp.ErrorCode = kcode(errs[0])
			return answer{body: resp}, nil
		}
		for i, l := range leaving {
			m := kmsg.NewLeaveGroupResponseMember()
			m.MemberID, m.InstanceID, m.ErrorCode = l.MemberID, l.Instance, kcode(errs[i])
			resp.Members = append(resp.Members, m)
		}
		return answer{body: resp}, nil
	}
}
