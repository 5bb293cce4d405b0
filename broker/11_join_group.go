package broker

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
)

// JoinGroup: v0-9
//
// Version notes:
//   - v1: rebalance timeout
//   - v4: a new member is sent its id first, and joins with it (KIP-394)
//   - v5: static members
//   - v6: flexible
//   - v7: protocol type in the answer
//   - v8: reason
//   - v9: skip assignment
func (b *broker) handleJoinGroup(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.JoinGroupRequest)
	w := newWaiter[*kmsg.JoinGroupResponse](b.groups)
	join := group.JoinRequest{
		JoinGroupRequest: req, ClientID: r.clientID, ClientHost: r.clientHost, Reply: w.reply,
		NewMemberID: r.clientID + "-" + uuid.NewString(),
	}
	if req.InstanceID != nil {
		join.NewMemberID = *req.InstanceID + "-" + uuid.NewString()
	}
	_, err := b.groups.Do(func(now time.Time) coord.Step { return b.groupMachine.Join(join, now) })
	return func(ctx context.Context) (answer, error) {
		resp, failed := w.wait(ctx, err)
		if failed != nil {
			resp = req.ResponseKind().(*kmsg.JoinGroupResponse)
			resp.ErrorCode, resp.MemberID = b.coordinatorError(failed).Code, req.MemberID
		}
		resp.Version = req.Version
		if resp.Protocol == nil && req.Version < 7 {
			resp.Protocol = kmsg.StringPtr("")
		}
		if resp.Members == nil {
			resp.Members = []kmsg.JoinGroupResponseMember{}
		}
		return answer{body: resp}, nil
	}
}

// waiter is a request that waits for a coordinator's reply, which may be long in coming.
type waiter[T any] struct {
	shard *coord.Shard
	done  chan reply[T]
}

type reply[T any] struct {
	resp T
	lsn  int64 // what has to be durable before
}

func newWaiter[T any](s *coord.Shard) *waiter[T] {
	return &waiter[T]{shard: s, done: make(chan reply[T], 1)}
}

// reply is called at most once.
func (w *waiter[T]) reply(resp T) { w.done <- reply[T]{resp, w.shard.Last()} }

// wait returns the reply. If the step failed there may be none.
func (w *waiter[T]) wait(ctx context.Context, stepped error) (resp T, err error) {
	if stepped != nil {
		select {
		case r := <-w.done:
			return r.resp, nil // it reports the failure
		default:
			return resp, stepped
		}
	}
	select {
	case r := <-w.done:
		return r.resp, w.shard.Wait(ctx, r.lsn)
	case <-ctx.Done():
		return resp, ctx.Err()
	}
}

// coordinatorError is what clients of a coordinator are told when its log does not take records: to come again. A
// client that left while it waited is no trouble, and hears nothing.
func (b *broker) coordinatorError(err error) *kerr.Error {
	switch {
	case errors.Is(err, coord.ErrOffline): // it was logged when the broker started
	case errors.Is(err, context.Canceled):
		b.cfg.Logger.Debug("broker: a member left while it waited", "err", err)
	default:
		b.complain("broker: coordinator", err)
	}
	return kerr.CoordinatorNotAvailable
}
