package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/txn"
)

// AddOffsetsToTxn: v0-4
//
// Version notes:
//   - v2: PRODUCER_FENCED, where older versions are told INVALID_PRODUCER_EPOCH
//   - v3: flexible
func (b *broker) handleAddOffsetsToTxn(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.AddOffsetsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	ticket, err := b.joinTransaction(&txn.AddRequest{
		ID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch,
		Partitions: b.offsetsPartitions(),
	})
	if err == kerr.ProducerFenced && req.Version < 2 {
		err = kerr.InvalidProducerEpoch
	}
	resp.ErrorCode = kcode(err)
	return func(ctx context.Context) (answer, error) {
		if err := b.txns.Wait(ctx, ticket); err != nil {
			resp.ErrorCode = b.waitError(ctx, err).Code
		}
		return answer{body: resp}, nil
	}
}

// offsetsPartitions is what belongs to a transaction that commits offsets.
func (b *broker) offsetsPartitions() []txn.TopicPartition {
	return []txn.TopicPartition{{Topic: b.offsets.topic, Partition: b.offsets.index}}
}
