package txn

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// EndRequest asks to commit or abort.
type EndRequest struct {
	ID         string
	ProducerID int64
	Epoch      int16
	Commit     bool
	// Version2 means that the producer expects a new epoch (EndTxn v5 and later).
	Version2 bool
	// FreshID is a producer id that nobody has; it is used when the epochs are used up.
	FreshID int64
}

// EndResult answers an EndRequest.
type EndResult struct {
	// ProducerID and Epoch are what the producer works with from now on.
	ProducerID int64
	Epoch      int16
	// Ending is set when the transaction's markers are to be written by the caller, once the step is durable.
	Ending *Ending
	// Wait is set when somebody else is writing them.
	Wait bool
	Err  *kerr.Error
}

// End decides a transaction.
func (m *Machine) End(r EndRequest, now time.Time) (res EndResult, step coord.Step) {
	t := m.txns[r.ID]
	if t == nil || r.ProducerID != t.pid && r.ProducerID != t.prevPID {
		res.Err = kerr.InvalidProducerIDMapping
		return res, step
	}
	if r.ProducerID == t.pid && r.Epoch == t.epoch {
		return m.endCurrent(t, r, now)
	}
	if !r.Version2 || r.Epoch != t.retryEpoch {
		res.Err = kerr.ProducerFenced
		return res, step
	}
	// A repetition: the first one moved the epoch.
	sameEnd := r.Commit == committed(t.state)
	switch {
	case t.preparing() && sameEnd:
		res.Wait = true
		res.ProducerID, res.Epoch = t.pid, t.epoch
		if t.nextPID >= 0 {
			res.ProducerID, res.Epoch = t.nextPID, 0
		}
	case !t.preparing() && t.state != kmsg.TransactionStateOngoing && t.state != kmsg.TransactionStateEmpty && sameEnd:
		res.ProducerID, res.Epoch = t.pid, t.epoch
	default:
		res.Err = kerr.InvalidTxnState
	}
	return res, step
}

func committed(s kmsg.TransactionState) bool {
	return s == kmsg.TransactionStatePrepareCommit || s == kmsg.TransactionStateCompleteCommit
}

// endCurrent decides a transaction for the producer that has the current epoch.
func (m *Machine) endCurrent(t *txn, r EndRequest, now time.Time) (res EndResult, step coord.Step) {
	idle := t.state != kmsg.TransactionStateOngoing && !t.preparing()
	res.ProducerID, res.Epoch = t.pid, t.epoch
	switch {
	case t.preparing() && !r.Version2 && r.Commit == committed(t.state):
		res.Wait = true
		return res, step
	case t.preparing():
		res.Err = kerr.ConcurrentTransactions
		return res, step
	case idle && !r.Version2 && t.state != kmsg.TransactionStateEmpty && r.Commit == committed(t.state):
		return res, step // the answer was lost
	case idle && !(r.Version2 && !r.Commit):
		// A producer of version 2 may abort what the broker never heard of: it can't know whether its last produce,
		// which would have begun the transaction, arrived. The new epoch sees to it that it never will.
		res.Err = kerr.InvalidTxnState
		return res, step
	}
	next := t.prepare(r.Commit, now)
	next.prevPID = -1
	if r.Version2 {
		next.version = 2
		next.epoch = t.epoch + 1
		res.Epoch = next.epoch
		if t.epoch >= maxEpoch {
			next.nextPID = r.FreshID
			res.ProducerID, res.Epoch = r.FreshID, 0
		}
	}
	ending := next.ending()
	res.Ending = &ending
	step.Records = append(step.Records, next.record())
	return res, step
}
