package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
	"thalweg/broker/internal/txn"
)

// TxnOffsetCommit: v0-6
//
// Version notes:
//   - v2: leader epochs
//   - v3: flexible; the member's id and generation are checked
//   - v5: the group joins the transaction by being written to (KIP-890)
//   - v6: topic ids
func (b *broker) handleTxnOffsetCommit(ctx context.Context, r *request) completion {
	req := r.body.(*kmsg.TxnOffsetCommitRequest)
	commit := &offsetRequest{CommitRequest: group.CommitRequest{
		Group: req.Group, MemberID: req.MemberID, Instance: req.InstanceID, Generation: req.Generation,
		Producer: &coord.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch},
	}}
	if req.Version < 3 {
		commit.MemberID, commit.Generation = "", -1
	}
	for i := range req.Topics {
		rt := &req.Topics[i]
		commit.topic(rt.Topic, rt.TopicID, req.Version >= 6)
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			commit.add(group.Commit{
				Partition: rp.Partition, Offset: rp.Offset, LeaderEpoch: rp.LeaderEpoch, Metadata: rp.Metadata,
			})
		}
	}
	joined, lsn, failed := b.commitTxnOffsets(ctx, req, commit)
	return func(ctx context.Context) (answer, error) {
		if failed == nil {
			failed = b.txns.Wait(ctx, joined)
		}
		b.commitsDurable(ctx, commit, lsn, failed)
		return answer{body: txnOffsetCommitResponse(req, commit)}, nil
	}
}

func (b *broker) commitTxnOffsets(
	ctx context.Context, req *kmsg.TxnOffsetCommitRequest, commit *offsetRequest,
) (joined, lsn int64, failed error) {
	fence := b.fences.of(req.TransactionalID)
	fence.RLock()
	defer fence.RUnlock()
	joined, err := b.joinWithOffsets(ctx, &txn.AddRequest{
		ID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch,
		VerifyOnly: req.Version < 5, Version2: req.Version >= 5,
	}, fence)
	switch {
	case err == nil:
		lsn, failed = b.commitOffsets(commit)
		return joined, lsn, failed
	case err == kerr.ProducerFenced:
		err = kerr.InvalidProducerEpoch
	case err == kerr.TransactionAbortable && req.Version < 5:
		err = kerr.InvalidTxnState
	}
	commit.fail(err)
	return -1, -1, nil
}

func txnOffsetCommitResponse(req *kmsg.TxnOffsetCommitRequest, commit *offsetRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	next := 0
	for i := range req.Topics {
		t := kmsg.NewTxnOffsetCommitResponseTopic()
		t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
		for j := range req.Topics[i].Partitions {
			part := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			part.Partition, part.ErrorCode = req.Topics[i].Partitions[j].Partition, kcode(commit.Commits[next].Err)
			next++
			t.Partitions = append(t.Partitions, part)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
