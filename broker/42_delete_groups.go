package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// DeleteGroups: v0-3
//
// Version notes:
//   - v2: flexible
//   - v3: messages
func (b *broker) handleDeleteGroups(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DeleteGroupsRequest)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
		for _, id := range req.Groups {
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group = id
			if err := b.deleteGroup(ctx, id); err != nil {
				g.ErrorCode, g.ErrorMessage = err.Code, kmsg.StringPtr("group "+id+": "+err.Description)
			}
			resp.Groups = append(resp.Groups, g)
		}
		return answer{body: resp}, nil
	}
}

func (b *broker) deleteGroup(ctx context.Context, id string) *kerr.Error {
	var refused *kerr.Error
	lsn, err := b.groups.Do(func(time.Time) (step coord.Step) {
		step, refused = b.groupMachine.Delete(id)
		return step
	})
	if err == nil {
		err = b.groups.Wait(ctx, lsn)
	}
	if err != nil {
		return b.waitError(ctx, err)
	}
	return refused
}
