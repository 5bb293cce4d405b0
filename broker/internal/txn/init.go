package txn

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// InitRequest asks for a producer id and epoch of a transactional id.
type InitRequest struct {
	ID      string
	Timeout time.Duration
	// ProducerID and Epoch are what the producer believes to have, or -1: it then takes over from the one that has it.
	ProducerID int64
	Epoch      int16
	// FreshID is a producer id that nobody has; it is used when one is needed.
	FreshID int64
}

// InitResult answers an InitRequest.
type InitResult struct {
	ProducerID int64
	Epoch      int16
	// Abort is set when an ongoing transaction has to be aborted first: finish it and ask again with the producer id
	// and epoch of this result.
	Abort *Ending
	Err   *kerr.Error
}

// InitProducerID gives a producer its id and a new epoch, which fences its predecessors.
//
// ConcurrentTransactions means that a transaction is ending: Wait, and ask again.
func (m *Machine) InitProducerID(r InitRequest, now time.Time) (res InitResult, step coord.Step) {
	if r.Timeout <= 0 || r.Timeout > m.cfg.MaxTimeout {
		res.Err = kerr.InvalidTransactionTimeout
		return res, step
	}
	t := m.txns[r.ID]
	if t == nil {
		next := txn{
			id: r.ID, pid: r.FreshID, prevPID: -1, nextPID: -1, timeout: r.Timeout,
			state: kmsg.TransactionStateEmpty, update: now,
		}
		res.ProducerID = r.FreshID
		step.Records = append(step.Records, next.record())
		return res, step
	}
	repeated := r.Epoch >= 0 && r.Epoch == t.retryEpoch && (r.ProducerID == t.pid || r.ProducerID == t.prevPID)
	if r.ProducerID >= 0 && (r.ProducerID != t.pid || r.Epoch != t.epoch) && !repeated {
		res.Err = kerr.ProducerFenced
		return res, step
	}
	switch {
	case t.preparing():
		res.Err = kerr.ConcurrentTransactions
	case t.state == kmsg.TransactionStateOngoing:
		next := t.prepare(false, now)
		next.epoch = t.epoch + 1
		ending := next.ending()
		res = InitResult{ProducerID: t.pid, Epoch: next.epoch, Abort: &ending}
		step.Records = append(step.Records, next.record())
		step.Reply(func(error) { t.retryEpoch = -1 }) // the predecessor is fenced, its EndTxn is no repetition
	case repeated:
		res.ProducerID, res.Epoch = t.pid, t.epoch // the answer that was lost
	default:
		step.Records = append(step.Records, t.nextEpoch(r, now, &res))
		step.Reply(func(err error) {
			if err == nil && r.ProducerID >= 0 && res.Epoch > 0 {
				t.retryEpoch = r.Epoch
			}
		})
	}
	return res, step
}

func (t *txn) nextEpoch(r InitRequest, now time.Time, res *InitResult) coord.Record {
	next := *t
	next.state, next.timeout, next.update = kmsg.TransactionStateEmpty, r.Timeout, now
	next.prevPID, next.nextPID, next.start, next.partitions = -1, -1, time.Time{}, nil
	next.epoch = t.epoch + 1
	if t.epoch >= maxEpoch {
		next.pid, next.epoch = r.FreshID, 0
	}
	// Which version the producer speaks shows in its next request.
	next.version = 0
	res.ProducerID, res.Epoch = next.pid, next.epoch
	return next.record()
}
