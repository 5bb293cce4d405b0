package broker

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/txn"
)

// AddOffsetsToTxn: v0-4
//
// Version notes:
//   - v2: PRODUCER_FENCED, where older versions are told INVALID_PRODUCER_EPOCH
//   - v3: flexible
func (b *broker) handleAddOffsetsToTxn(ctx context.Context, r *request) completion {
	req := r.body.(*kmsg.AddOffsetsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	lsn, err := b.joinWithOffsets(ctx, &txn.AddRequest{
		ID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch,
	}, nil)
	if err == kerr.ProducerFenced && req.Version < 2 {
		err = kerr.InvalidProducerEpoch
	}
	resp.ErrorCode = kcode(err)
	return func(ctx context.Context) (answer, error) {
		if err := b.txns.Wait(ctx, lsn); err != nil {
			resp.ErrorCode = b.waitError(ctx, err).Code
		}
		return answer{body: resp}, nil
	}
}

// joinWithOffsets makes the groups' offsets part of a producer's transaction. While they are offline it refuses: the
// transaction could not end before the next start.
func (b *broker) joinWithOffsets(ctx context.Context, r *txn.AddRequest, fence *sync.RWMutex) (
	lsn int64, failed *kerr.Error,
) {
	if err := b.groups.Err(); err != nil {
		return -1, b.storageError(err)
	}
	r.Partitions = []txn.TopicPartition{{Topic: b.offsets.topic, Partition: b.offsets.index}}
	return b.joinTransaction(ctx, r, fence)
}
