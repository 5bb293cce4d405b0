package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// handler serves one API.
type handler struct {
	min, max int16 // versions, as advertised
	// begin starts a request on the connection's reader: what must keep the order of requests happens here, and nothing
	// that waits. The completion waits.
	begin func(ctx context.Context, r *request) completion
}

// handlerTable is all APIs. The file of each says what its versions brought.
func (b *broker) handlerTable() map[int16]*handler {
	table := map[kmsg.Key]*handler{
		kmsg.Produce:                    {0, 13, b.handleProduce},
		kmsg.Fetch:                      {4, 18, b.handleFetch},
		kmsg.ListOffsets:                {0, 11, b.handleListOffsets},
		kmsg.Metadata:                   {0, 13, b.handleMetadata},
		kmsg.OffsetCommit:               {0, 10, b.handleOffsetCommit},
		kmsg.OffsetFetch:                {0, 10, b.handleOffsetFetch},
		kmsg.FindCoordinator:            {0, 6, b.handleFindCoordinator},
		kmsg.JoinGroup:                  {0, 9, b.handleJoinGroup},
		kmsg.Heartbeat:                  {0, 4, b.handleHeartbeat},
		kmsg.LeaveGroup:                 {0, 5, b.handleLeaveGroup},
		kmsg.SyncGroup:                  {0, 5, b.handleSyncGroup},
		kmsg.DescribeGroups:             {0, 6, b.handleDescribeGroups},
		kmsg.ListGroups:                 {0, 5, b.handleListGroups},
		kmsg.ApiVersions:                {0, 4, b.handleApiVersions},
		kmsg.CreateTopics:               {0, 7, b.handleCreateTopics},
		kmsg.DeleteTopics:               {0, 6, b.handleDeleteTopics},
		kmsg.DeleteRecords:              {0, 2, b.handleDeleteRecords},
		kmsg.InitProducerID:             {0, 5, b.handleInitProducerID},
		kmsg.OffsetForLeaderEpoch:       {2, 4, b.handleOffsetForLeaderEpoch},
		kmsg.AddPartitionsToTxn:         {0, 5, b.handleAddPartitionsToTxn},
		kmsg.AddOffsetsToTxn:            {0, 4, b.handleAddOffsetsToTxn},
		kmsg.EndTxn:                     {0, 5, b.handleEndTxn},
		kmsg.WriteTxnMarkers:            {0, 1, b.handleWriteTxnMarkers},
		kmsg.TxnOffsetCommit:            {0, 6, b.handleTxnOffsetCommit},
		kmsg.DescribeACLs:               {1, 3, b.handleDescribeACLs},
		kmsg.CreateACLs:                 {1, 3, b.handleCreateACLs},
		kmsg.DeleteACLs:                 {1, 3, b.handleDeleteACLs},
		kmsg.DescribeConfigs:            {0, 4, b.handleDescribeConfigs},
		kmsg.AlterConfigs:               {0, 2, b.handleAlterConfigs},
		kmsg.AlterReplicaLogDirs:        {1, 2, b.handleAlterReplicaLogDirs},
		kmsg.DescribeLogDirs:            {0, 5, b.handleDescribeLogDirs},
		kmsg.CreatePartitions:           {0, 3, b.handleCreatePartitions},
		kmsg.DeleteGroups:               {0, 3, b.handleDeleteGroups},
		kmsg.ElectLeaders:               {0, 2, b.handleElectLeaders},
		kmsg.IncrementalAlterConfigs:    {0, 1, b.handleIncrementalAlterConfigs},
		kmsg.AlterPartitionAssignments:  {0, 1, b.handleAlterPartitionReassignments},
		kmsg.ListPartitionReassignments: {0, 0, b.handleListPartitionReassignments},
		kmsg.OffsetDelete:               {0, 0, b.handleOffsetDelete},
		kmsg.DescribeQuorum:             {0, 2, b.handleDescribeQuorum},
		kmsg.UpdateFeatures:             {0, 2, b.handleUpdateFeatures},
		kmsg.DescribeCluster:            {0, 2, b.handleDescribeCluster},
		kmsg.DescribeProducers:          {0, 0, b.handleDescribeProducers},
		kmsg.DescribeTransactions:       {0, 0, b.handleDescribeTransactions},
		kmsg.ListTransactions:           {0, 2, b.handleListTransactions},
		kmsg.ListConfigResources:        {0, 1, b.handleListConfigResources},
		kmsg.DescribeTopicPartitions:    {0, 0, b.handleDescribeTopicPartitions},
	}
	byNumber := make(map[int16]*handler, len(table))
	for key, h := range table {
		byNumber[int16(key)] = h
	}
	return byNumber
}

// begin starts a request. An error ends the connection: there is no answer that the client would understand.
func (b *broker) begin(ctx context.Context, r *request) (completion, error) {
	h := b.handlers[r.key]
	if h == nil {
		return nil, fmt.Errorf("%s: not supported", r)
	}
	if r.unsupported || r.version < h.min || r.version > h.max {
		if r.key == int16(kmsg.ApiVersions) {
			r.unsupported, r.flexible = true, false
			return h.begin(ctx, r), nil
		}
		return nil, fmt.Errorf("%s: supported are versions %d to %d", r, h.min, h.max)
	}
	return h.begin(ctx, r), nil
}
