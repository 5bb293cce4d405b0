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
//   - v9: the generation may be the member epoch of KIP-848; a group that does not exist is GROUP_ID_NOT_FOUND, and
//     ILLEGAL_GENERATION before
//   - v10: topic ids
func (b *broker) handleOffsetCommit(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.OffsetCommitRequest)
	commit := &offsetRequest{CommitRequest: group.CommitRequest{
		Group: req.Group, MemberID: req.MemberID, Instance: req.InstanceID, Generation: req.Generation,
	}}
	if req.Version < 1 {
		commit.Generation = -1
	}
	if req.Version >= 9 {
		commit.NoGroup = kerr.GroupIDNotFound
	}
	if req.Version >= 2 && req.Version <= 4 && req.RetentionTimeMillis > 0 {
		commit.Retention = time.Duration(req.RetentionTimeMillis) * time.Millisecond
	}
	for i := range req.Topics {
		rt := &req.Topics[i]
		commit.topic(rt.Topic, rt.TopicID, req.Version >= 10)
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			commit.add(group.Commit{
				Partition: rp.Partition, Offset: rp.Offset, LeaderEpoch: rp.LeaderEpoch, Metadata: rp.Metadata,
			})
		}
	}
	lsn, failed := b.commitOffsets(commit)
	return func(ctx context.Context) (answer, error) {
		b.commitsDurable(ctx, commit, lsn, failed)
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

// offsetRequest is a request to commit or to delete offsets. It names topics as the client does, and they are looked up
// in the step that carries it out. The deletion of a topic takes the topic out of b.topics first, and then forgets its
// offsets in a step of the same shard, so no offset comes behind that step.
type offsetRequest struct {
	group.CommitRequest
	topics []offsetTopic
}

// offsetTopic is the topic of as many commits.
type offsetTopic struct {
	name    string
	id      [16]byte
	byID    bool
	commits int
}

// topic names the topic of the commits that are added next.
func (r *offsetRequest) topic(name string, id [16]byte, byID bool) {
	r.topics = append(r.topics, offsetTopic{name: name, id: id, byID: byID})
}

func (r *offsetRequest) add(c group.Commit) {
	r.topics[len(r.topics)-1].commits++
	r.Commits = append(r.Commits, c)
}

// find looks the topics up, and marks the commits for what is not there.
func (r *offsetRequest) find(set *topicSet) {
	commits := r.Commits
	for _, rt := range r.topics {
		t, err := set.find(rt.name, rt.id, rt.byID)
		for i := range commits[:rt.commits] {
			c := &commits[i]
			switch {
			case err != nil:
				c.Err = err
			case !t.has(c.Partition):
				c.Err = kerr.UnknownTopicOrPartition
			default:
				c.Topic = t.Name
			}
		}
		commits = commits[rt.commits:]
	}
}

// fail answers every commit with an error.
func (r *offsetRequest) fail(err *kerr.Error) {
	for i := range r.Commits {
		r.Commits[i].Err = err
	}
}

func (b *broker) commitOffsets(r *offsetRequest) (lsn int64, failed error) {
	return b.groups.Do(func(now time.Time) coord.Step {
		r.find(b.topics.load())
		return b.groupMachine.Commit(&r.CommitRequest, now)
	})
}

// commitsDurable waits for the disk, and marks what did not get there.
func (b *broker) commitsDurable(ctx context.Context, r *offsetRequest, lsn int64, failed error) {
	if failed == nil {
		failed = b.groups.Wait(ctx, lsn)
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
