package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster: v0-2
//
// Version notes:
//   - v1: endpoint type
//   - v2: fenced brokers
func (b *broker) handleDescribeCluster(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = req.EndpointType
	if req.Version < 1 {
		resp.EndpointType = 1
	}
	resp.ClusterID, resp.ControllerID = b.clusterID, nodeID
	resp.ClusterAuthorizedOperations = authorized(kmsg.ACLResourceTypeCluster, req.IncludeClusterAuthorizedOperations)
	node := kmsg.NewDescribeClusterResponseBroker()
	node.NodeID = nodeID
	node.Host, node.Port = b.server.advertised(r)
	resp.Brokers = append(resp.Brokers, node)
	return ready(resp)
}
