package broker

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// authorized is what a client is told that it may do with a resource: everything, where there is no authorizer. It is a
// bit for each operation of that kind of resource, and the least integer for a client that does not ask.
func authorized(kind kmsg.ACLResourceType, asked bool) int32 {
	if !asked {
		return math.MinInt32
	}
	var operations []kmsg.ACLOperation
	switch kind {
	case kmsg.ACLResourceTypeTopic:
		operations = []kmsg.ACLOperation{
			kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
			kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs,
			kmsg.ACLOperationAlterConfigs,
		}
	case kmsg.ACLResourceTypeGroup:
		operations = []kmsg.ACLOperation{
			kmsg.ACLOperationRead, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe,
			kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
		}
	case kmsg.ACLResourceTypeCluster:
		operations = []kmsg.ACLOperation{
			kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe,
			kmsg.ACLOperationClusterAction, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
			kmsg.ACLOperationIdempotentWrite,
		}
	}
	bits := int32(0)
	for _, operation := range operations {
		bits |= 1 << operation
	}
	return bits
}
