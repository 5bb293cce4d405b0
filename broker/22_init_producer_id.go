package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/txn"
)

// InitProducerId: v0-5
//
// Version notes:
//   - v2: flexible
//   - v3: the id and epoch that the producer believes to have (KIP-360)
//   - v4: PRODUCER_FENCED, where older versions are told INVALID_PRODUCER_EPOCH
//
// An ongoing transaction of the transactional id is aborted first. We wait for that rather than send the client away
// with CONCURRENT_TRANSACTIONS; it gets that when it takes long.
func (b *broker) handleInitProducerID(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.InitProducerIDRequest)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		id, epoch, err := b.initProducerID(ctx, req)
		if err == kerr.ProducerFenced && req.Version < 4 {
			err = kerr.InvalidProducerEpoch
		}
		if resp.ErrorCode = kcode(err); err == nil {
			resp.ProducerID, resp.ProducerEpoch = id, epoch
		}
		return answer{body: resp}, nil
	}
}

func (b *broker) initProducerID(ctx context.Context, req *kmsg.InitProducerIDRequest) (int64, int16, *kerr.Error) {
	if req.TransactionalID != nil && *req.TransactionalID == "" {
		return 0, 0, kerr.InvalidRequest
	}
	fresh := b.pids.take()
	if req.TransactionalID == nil {
		return fresh, 0, nil
	}
	init := txn.InitRequest{
		ID: *req.TransactionalID, Timeout: time.Duration(req.TransactionTimeoutMillis) * time.Millisecond,
		ProducerID: req.ProducerID, Epoch: req.ProducerEpoch, FreshID: fresh,
	}
	if req.Version < 3 {
		init.ProducerID, init.Epoch = -1, -1
	}
	for range maxInitRounds {
		var res txn.InitResult
		lsn, err := b.txns.Do(func(now time.Time) (step coord.Step) {
			res, step = b.txnMachine.InitProducerID(init, now)
			return step
		})
		if err != nil {
			return 0, 0, b.storageError(err)
		}
		switch {
		case res.Abort != nil:
			init.ProducerID, init.Epoch = res.ProducerID, res.Epoch
			b.finishLater(*res.Abort, lsn)
		case res.Err != kerr.ConcurrentTransactions && res.Err != nil:
			return 0, 0, res.Err
		case res.Err == nil:
			if err := b.txns.Wait(ctx, lsn); err != nil {
				return 0, 0, b.waitError(ctx, err)
			}
			return res.ProducerID, res.Epoch, nil
		}
		if b.transactionEnded(ctx, init.ID) != nil {
			break
		}
	}
	return 0, 0, kerr.ConcurrentTransactions
}

// maxInitRounds is how often a producer's transaction may be in the way before the client has to come again.
const maxInitRounds = 3
