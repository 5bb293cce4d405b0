package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The broker has no authorizer, so it answers requests about access control lists as Apache Kafka without one does.
const noAuthorizer = "the broker has no authorizer"

// DescribeACLs: v1-3
//
// Version notes:
//   - v2: flexible
//   - v3: user resource types
func (b *broker) handleDescribeACLs(_ context.Context, r *request) completion {
	resp := r.body.(*kmsg.DescribeACLsRequest).ResponseKind().(*kmsg.DescribeACLsResponse)
	resp.ErrorCode, resp.ErrorMessage = kerr.SecurityDisabled.Code, kmsg.StringPtr(noAuthorizer)
	return ready(resp)
}

// CreateACLs: v1-3
//
// Version notes: as of DescribeACLs.
func (b *broker) handleCreateACLs(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.CreateACLsRequest)
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	for range req.Creations {
		result := kmsg.NewCreateACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = kerr.SecurityDisabled.Code, kmsg.StringPtr(noAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return ready(resp)
}

// DeleteACLs: v1-3
//
// Version notes: as of DescribeACLs.
func (b *broker) handleDeleteACLs(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DeleteACLsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	for range req.Filters {
		result := kmsg.NewDeleteACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = kerr.SecurityDisabled.Code, kmsg.StringPtr(noAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return ready(resp)
}
