package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator: v0-6
//
// Version notes:
//   - v1: transactional ids beside groups
//   - v3: flexible
//   - v4: several keys
//   - v6: share groups, which we do not have
//
// The only node coordinates everything.
func (b *broker) handleFindCoordinator(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	var err *kerr.Error
	switch {
	case req.CoordinatorType < 0 || req.CoordinatorType > 1:
		err = kerr.InvalidRequest
	case req.CoordinatorType == 0 && b.groups.Err() != nil, req.CoordinatorType == 1 && b.txns.Err() != nil:
		err = kerr.CoordinatorNotAvailable
	}
	host, port := b.server.advertised(r)
	if req.Version < 4 {
		resp.ErrorCode, resp.NodeID, resp.Host, resp.Port = kcode(err), nodeID, host, port
		return ready(resp)
	}
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.ErrorCode, c.NodeID, c.Host, c.Port = key, kcode(err), nodeID, host, port
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return ready(resp)
}
