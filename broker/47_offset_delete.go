package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
)

// OffsetDelete: v0
func (b *broker) handleOffsetDelete(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.OffsetDeleteRequest)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
		commit := &offsetRequest{CommitRequest: group.CommitRequest{Group: req.Group}}
		for i := range req.Topics {
			commit.topic(req.Topics[i].Topic, [16]byte{}, false)
			for j := range req.Topics[i].Partitions {
				commit.add(group.Commit{Partition: req.Topics[i].Partitions[j].Partition})
			}
		}
		var refused *kerr.Error
		lsn, failed := b.groups.Do(func(time.Time) (step coord.Step) {
			commit.find(b.topics.load())
			step, refused = b.groupMachine.DeleteOffsets(req.Group, commit.Commits)
			return step
		})
		if resp.ErrorCode = kcode(refused); refused != nil {
			return answer{body: resp}, nil
		}
		b.commitsDurable(ctx, commit, lsn, failed)
		next := 0
		for i := range req.Topics {
			t := kmsg.NewOffsetDeleteResponseTopic()
			t.Topic = req.Topics[i].Topic
			for range req.Topics[i].Partitions {
				part := kmsg.NewOffsetDeleteResponseTopicPartition()
				part.Partition, part.ErrorCode = commit.Commits[next].Partition, kcode(commit.Commits[next].Err)
				next++
				t.Partitions = append(t.Partitions, part)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return answer{body: resp}, nil
	}
}
