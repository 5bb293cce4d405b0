package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/txn"
)

// DescribeTransactions: v0
func (b *broker) handleDescribeTransactions(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	_, err := b.txns.View(func(time.Time) {
		for _, id := range req.TransactionalIDs {
			d, ok := b.txnMachine.Describe(id)
			resp.TransactionStates = append(resp.TransactionStates, describeTransaction(id, d, ok))
		}
	})
	if err != nil {
		kerror := b.coordinatorError(err)
		for _, id := range req.TransactionalIDs {
			failed := describeTransaction(id, txn.Description{}, false)
			failed.ErrorCode = kerror.Code
			resp.TransactionStates = append(resp.TransactionStates, failed)
		}
	}
	return ready(resp)
}

func describeTransaction(id string, d txn.Description, ok bool) kmsg.DescribeTransactionsResponseTransactionState {
	out := kmsg.NewDescribeTransactionsResponseTransactionState()
	out.TransactionalID, out.ProducerID, out.ProducerEpoch, out.StartTimestamp = id, -1, -1, -1
	if !ok {
		out.ErrorCode = kerr.TransactionalIDNotFound.Code
		return out
	}
	out.State, out.TimeoutMillis = d.State.String(), int32(d.Timeout.Milliseconds())
	out.ProducerID, out.ProducerEpoch = d.ProducerID, d.Epoch
	if !d.Start.IsZero() {
		out.StartTimestamp = d.Start.UnixMilli()
	}
	for _, tp := range d.Partitions { // sorted
		if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != tp.Topic {
			t := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			t.Topic = tp.Topic
			out.Topics = append(out.Topics, t)
		}
		last := &out.Topics[len(out.Topics)-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	return out
}
