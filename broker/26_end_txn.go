package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/txn"
)

// EndTxn: v0-5
//
// Version notes:
//   - v2: PRODUCER_FENCED, where older versions are told INVALID_PRODUCER_EPOCH
//   - v3: flexible
//   - v5: the producer's next epoch in the answer (KIP-890)
//
// The decision is durable before anything follows from it. The answer waits for the markers, too, so that the next
// transaction of the producer never meets CONCURRENT_TRANSACTIONS.
func (b *broker) handleEndTxn(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.EndTxnRequest)
	end := txn.EndRequest{
		ID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch, Commit: req.Commit,
		Version2: req.Version >= 5,
	}
	res, ticket := b.endTxn(end)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		if res.Err == nil {
			res.Err = b.ended(ctx, req.TransactionalID, res, ticket)
		}
		if res.Err == kerr.ProducerFenced && req.Version < 2 {
			res.Err = kerr.InvalidProducerEpoch
		}
		if resp.ErrorCode = kcode(res.Err); res.Err == nil {
			resp.ProducerID, resp.ProducerEpoch = res.ProducerID, res.Epoch
		}
		return answer{body: resp}, nil
	}
}

// lastOldEpoch is where a producer's epochs are about to be used up, and a new id is kept ready.
const lastOldEpoch = 32_765

func (b *broker) endTxn(end txn.EndRequest) (res txn.EndResult, ticket int64) {
	end.FreshID = -1
	if end.Epoch >= lastOldEpoch {
		var err error
		if end.FreshID, err = b.nextProducerID(); err != nil {
			res.Err = b.storageError(err)
			return res, -1
		}
	}
	ticket, err := b.txns.Do(func(now time.Time) (step coord.Step) {
		res, step = b.txnMachine.End(end, now)
		return step
	})
	if err != nil {
		res.Err = b.storageError(err)
		return res, -1
	}
	if res.Ending != nil {
		b.finishLater(*res.Ending, ticket)
	}
	return res, ticket
}

func (b *broker) ended(ctx context.Context, id string, res txn.EndResult, ticket int64) *kerr.Error {
	if err := b.txns.Wait(ctx, ticket); err != nil {
		return b.waitError(ctx, err)
	}
	if res.Ending == nil && !res.Wait {
		return nil
	}
	if b.transactionEnded(ctx, id) != nil {
		return kerr.ConcurrentTransactions
	}
	return nil
}
