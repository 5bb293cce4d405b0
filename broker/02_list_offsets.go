package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/log"
)

// ListOffsets: v0-11
//
// Version notes:
//   - v0: a list of offsets; we give the one that v1 would
//   - v1: one offset, with its timestamp
//   - v2: isolation level
//   - v4: leader epochs
//   - v6: flexible
//   - v7: the offset of the largest timestamp (-3)
//   - v8, v9, v11: tiered storage (-4, -5, -6): everything that there is, is local
//   - v10: timeout
func (b *broker) handleListOffsets(ctx context.Context, r *request) completion {
	req := r.body.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	set := b.topics.load()
	for i := range req.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			rp := &req.Topics[i].Partitions[j]
			part := kmsg.NewListOffsetsResponseTopicPartition()
			part.Partition = rp.Partition
			part.Offset, part.Timestamp, part.LeaderEpoch = -1, -1, -1
			part.OldStyleOffsets = []int64{}
			target, kerror := set.partition(t.Topic, rp.Partition)
			switch {
			case kerror != nil:
				part.ErrorCode = kerror.Code
			case req.Version >= 4 && rp.CurrentLeaderEpoch > leaderEpoch:
				part.ErrorCode = kerr.UnknownLeaderEpoch.Code
			default:
				end := target.log.HighWatermark()
				switch {
				case req.ReplicaID == debugging:
					end = target.log.End()
				case req.IsolationLevel == 1:
					target.log.WaitMarkers(ctx)
					end = target.log.LastStable()
				}
				b.listOffset(target, rp.Timestamp, end, &part)
			}
			if req.Version == 0 && part.Offset >= 0 {
				part.OldStyleOffsets = append(part.OldStyleOffsets, part.Offset)
			}
			t.Partitions = append(t.Partitions, part)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return ready(resp)
}

// Timestamps that stand for something else.
const (
	listLatest       = -1
	listEarliest     = -2
	listMaxTimestamp = -3
	listLocalStart   = -4
	listTiered       = -5
	listPending      = -6
)

// debugging is the replica id of a client that asks for all that is written, on the disk or not.
const debugging = -2

// listOffset answers for one partition, which for the asker ends at end.
func (b *broker) listOffset(p *partition, ms, end int64, part *kmsg.ListOffsetsResponseTopicPartition) {
	var found log.TimeOffset
	var ok bool
	var err error
	switch ms {
	case listLatest:
		part.Offset, part.LeaderEpoch = end, leaderEpoch
		return
	case listEarliest, listLocalStart:
		part.Offset, part.LeaderEpoch = p.log.Start(), leaderEpoch
		return
	case listTiered, listPending:
		return // nothing is tiered
	case listMaxTimestamp:
		found, ok, err = p.log.MaxTimestamp()
	default:
		if ms < 0 {
			part.ErrorCode = kerr.UnsupportedVersion.Code
			return
		}
		found, ok, err = p.log.OffsetForTime(ms)
	}
	switch {
	case err != nil:
		part.ErrorCode = code(b.readError(p, err))
	case ok && found.Offset < end:
		part.Offset, part.Timestamp, part.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
	}
}
