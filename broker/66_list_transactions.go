package broker

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/txn"
)

// ListTransactions: v0-2
//
// Version notes:
//   - v1: filter by how long a transaction has been open
//   - v2: filter by a pattern of transactional ids
func (b *broker) handleListTransactions(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.ListTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	pattern := regexp.MustCompile("")
	if req.TransactionalIDPattern != nil {
		var err error
		if pattern, err = regexp.Compile("^(?:" + *req.TransactionalIDPattern + ")$"); err != nil {
			resp.ErrorCode = kerr.InvalidRegularExpression.Code
			return ready(resp)
		}
	}
	known := transactionStates()
	for _, state := range req.StateFilters {
		if !slices.Contains(known, state) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, state)
		}
	}
	_, err := b.txns.View(func(now time.Time) {
		ids := b.txnMachine.IDs()
		slices.Sort(ids)
		for _, id := range ids {
			d, _ := b.txnMachine.Describe(id)
			if !pattern.MatchString(id) || !listed(req, d, now) {
				continue
			}
			t := kmsg.NewListTransactionsResponseTransactionState()
			t.TransactionalID, t.ProducerID, t.TransactionState = id, d.ProducerID, d.State.String()
			resp.TransactionStates = append(resp.TransactionStates, t)
		}
	})
	if err != nil {
		resp.ErrorCode = b.coordinatorError(err).Code
	}
	return ready(resp)
}

func transactionStates() []string {
	var names []string
	for s := kmsg.TransactionStateEmpty; s <= kmsg.TransactionStatePrepareEpochFence; s++ {
		names = append(names, s.String())
	}
	return names
}

// listed tells whether a transaction passes the filters of a request, the pattern aside.
func listed(req *kmsg.ListTransactionsRequest, d txn.Description, now time.Time) bool {
	longEnough := req.DurationFilterMillis <= 0 ||
		!d.Start.IsZero() && now.Sub(d.Start).Milliseconds() >= req.DurationFilterMillis
	return longEnough &&
		(len(req.StateFilters) == 0 || slices.Contains(req.StateFilters, d.State.String())) &&
		(len(req.ProducerIDFilters) == 0 || slices.Contains(req.ProducerIDFilters, d.ProducerID))
}
