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
// The answer leaves when the decision is durable and the markers are written. As in Apache Kafka the last stable offset
// moves a moment later, when the markers are durable, too. Until then the producer's next transaction waits in the
// broker rather than being sent away with CONCURRENT_TRANSACTIONS.
func (b *broker) handleEndTxn(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.EndTxnRequest)
	end := txn.EndRequest{
		ID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch, Commit: req.Commit,
		Version2: req.Version >= 5,
	}
	res, lsn, written := b.endTxn(end)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		if res.Err == kerr.ConcurrentTransactions && b.transactionEnded(ctx, end.ID) == nil {
			res, lsn, written = b.endTxn(end)
		}
		if res.Err == nil {
			res.Err = b.ended(ctx, end.ID, res, lsn, written)
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

// endTxn decides a transaction. The LSN is for b.txns.Wait; the channel, if any, is closed when the markers are
// written.
func (b *broker) endTxn(end txn.EndRequest) (res txn.EndResult, lsn int64, written <-chan struct{}) {
	end.FreshID = -1
	if end.Epoch >= lastOldEpoch {
		end.FreshID = b.pids.take()
	}
	lsn, err := b.txns.Do(func(now time.Time) (step coord.Step) {
		res, step = b.txnMachine.End(end, now)
		return step
	})
	if err != nil {
		res.Err = b.storageError(err)
		return res, -1, nil
	}
	if res.Ending != nil {
		written = b.finishLater(*res.Ending, lsn)
	}
	return res, lsn, written
}

// ended returns once the end of a transaction may be answered: its decision stands.
func (b *broker) ended(ctx context.Context, id string, res txn.EndResult, lsn int64, written <-chan struct{},
) *kerr.Error {
	if err := b.txns.Wait(ctx, lsn); err != nil {
		return b.waitError(ctx, err)
	}
	if res.Wait && b.transactionEnded(ctx, id) != nil {
		return kerr.ConcurrentTransactions
	}
	if written == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	select {
	case <-written:
		return nil
	case <-ctx.Done():
	case <-b.stop:
	}
	return kerr.ConcurrentTransactions
}
