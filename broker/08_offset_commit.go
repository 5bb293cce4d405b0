package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
)

// OffsetCommit: v0-10
//
// Version notes:
//   - v1: generation and member id; before, and with generation -1, the committer is no member
//   - v2-v4: retention time of the offsets
//   - v6: leader epochs
//   - v7: static members
//   - v8: flexible
//   - v9: the generation may be the member epoch of KIP-848
//   - v10: topic ids
func (b *broker) handleOffsetCommit(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.OffsetCommitRequest)
	commit := &group.CommitRequest{
		Group: req.Group, MemberID: req.MemberID, Instance: req.InstanceID, Generation: req.Generation,
	}
	if req.Version < 1 {
		commit.Generation = -1
	}
	if req.Version >= 2 && req.Version <= 4 && req.RetentionTimeMillis > 0 {
		commit.Retention = time.Duration(req.RetentionTimeMillis) * time.Millisecond
	}
	set := b.topics.load()
	for i := range req.Topics {
		rt := &req.Topics[i]
		t, terr := set.find(rt.Topic, rt.TopicID, req.Version >= 10)
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			c := group.Commit{
				Partition: rp.Partition, Offset: rp.Offset, LeaderEpoch: rp.LeaderEpoch, Metadata: rp.Metadata,
			}
			c.Topic, c.Err = commitTopic(t, terr, rp.Partition)
			commit.Commits = append(commit.Commits, c)
		}
	}
	ticket, failed := b.commitOffsets(commit)
	return func(ctx context.Context) (answer, error) {
		b.commitsDurable(ctx, commit, ticket, failed)
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		next := 0
		for i := range req.Topics {
			t := kmsg.NewOffsetCommitResponseTopic()
			t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
			for j := range req.Topics[i].Partitions {
				part := kmsg.NewOffsetCommitResponseTopicPartition()
				part.Partition = req.Topics[i].Partitions[j].Partition
				part.ErrorCode = kcode(commit.Commits[next].Err)
				next++
				t.Partitions = append(t.Partitions, part)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return answer{body: resp}, nil
	}
}

// commitTopic returns the name under which an offset is committed, or why it is not.
func commitTopic(t *topic, terr *kerr.Error, partition int32) (string, *kerr.Error) {
	if terr != nil {
		return "", terr
	}
	if !t.has(partition) {
		return t.Name, kerr.UnknownTopicOrPartition
	}
	return t.Name, nil
}

func (b *broker) commitOffsets(r *group.CommitRequest) (ticket int64, failed error) {
	return b.groups.Do(func(now time.Time) coord.Step { return b.groupMachine.Commit(r, now) })
}

// commitsDurable waits for the disk, and marks what did not get there.
func (b *broker) commitsDurable(ctx context.Context, r *group.CommitRequest, ticket int64, failed error) {
	if failed == nil {
		failed = b.groups.Wait(ctx, ticket)
	}
	if failed == nil {
		return
	}
	err := b.waitError(ctx, failed)
	for i := range r.Commits {
		if r.Commits[i].Err == nil {
			r.Commits[i].Err = err
		}
	}
}
