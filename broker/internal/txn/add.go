package txn

import (
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// AddRequest asks for partitions to belong to the producer's transaction, which begins if there is none.
type AddRequest struct {
	ID         string
	ProducerID int64
	Epoch      int16
	Partitions []TopicPartition
	// VerifyOnly asks whether they already belong to it.
	VerifyOnly bool
	// Version2 means that the producer speaks transaction version 2: it wrote without asking before.
	Version2 bool
}

// Add checks the producer and adds partitions. In the frequent case, that they belong to the transaction already, it
// allocates nothing.
func (m *Machine) Add(r *AddRequest, now time.Time) (step coord.Step, err *kerr.Error) {
	t := m.txns[r.ID]
	switch {
	case t == nil || t.pid != r.ProducerID:
		return step, kerr.InvalidProducerIDMapping
	case t.epoch != r.Epoch:
		return step, kerr.ProducerFenced
	case t.preparing():
		return step, kerr.ConcurrentTransactions
	}
	missing := t.state != kmsg.TransactionStateOngoing
	if !missing {
		for _, tp := range r.Partitions {
			if _, ok := t.partitions[tp]; !ok {
				missing = true
				break
			}
		}
	}
	switch {
	case !missing:
		return step, nil
	case r.VerifyOnly:
		return step, kerr.TransactionAbortable
	}
	step.Records = append(step.Records, t.with(r.Partitions, r.Version2, now))
	return step, nil
}

func (t *txn) with(tps []TopicPartition, version2 bool, now time.Time) coord.Record {
	next := *t
	if version2 {
		next.version = 2
	}
	next.update, next.prevPID = now, -1
	next.partitions = make(map[TopicPartition]struct{}, len(t.partitions)+len(tps))
	if t.state != kmsg.TransactionStateOngoing {
		next.state, next.start = kmsg.TransactionStateOngoing, now
	} else {
		maps.Copy(next.partitions, t.partitions)
	}
	for _, tp := range tps {
		next.partitions[tp] = struct{}{}
	}
	return next.record()
}

// Adopt reconciles a transaction that is open in a partition after recovery. A partition joins a transaction of version
// 2 with its first batch, and a crash may have kept the batch and lost the coordinator's record of it. Epochs tell what
// to do: at the current one the transaction is the present one, and the partition joins it again, so that the
// producer, which may well be alive, continues; otherwise it returns orphan, and the partition needs an abort marker.
//
// The crash may also have lost that the transaction before is complete. A producer of version 2 changes its epoch when
// the end is decided, and writes with the new one only after all markers were durable: its batch shows that they are,
// and another marker would end its new transaction.
func (m *Machine) Adopt(p coord.Producer, tp TopicPartition, now time.Time) (step coord.Step, orphan bool) {
	t := m.producing(p.ID)
	if t == nil {
		return step, true
	}
	_, known := t.partitions[tp]
	switch {
	case t.preparing() && (p.ID == t.nextPID || t.version >= 2 && p.Epoch == t.epoch):
		done := t.completed(now)
		step.Records = append(step.Records, done.record(), done.with([]TopicPartition{tp}, true, now))
		return step, false
	case known && (t.preparing() || p.Epoch == t.epoch):
		return step, false
	case t.preparing() || p.Epoch != t.epoch:
		return step, true
	}
	step.Records = append(step.Records, t.with([]TopicPartition{tp}, true, now))
	return step, false
}

// producing returns the transactional id that has a producer id, or gets it when its transaction is complete; or nil.
func (m *Machine) producing(pid int64) *txn {
	if t := m.txns[m.byPID[pid]]; t != nil && t.pid == pid {
		return t
	}
	for _, t := range m.txns {
		if t.preparing() && t.nextPID == pid {
			return t
		}
	}
	return nil
}

// Describe returns the public state of a transactional id.
func (m *Machine) Describe(id string) (d Description, ok bool) {
	t := m.txns[id]
	if t == nil {
		return d, false
	}
	e := t.ending()
	return Description{
		ID: id, ProducerID: t.pid, Epoch: t.epoch, State: t.state, Timeout: t.timeout, Start: t.start,
		Partitions: e.Partitions,
	}, true
}

// IDs returns all transactional ids, in no order.
func (m *Machine) IDs() []string {
	ids := make([]string, 0, len(m.txns))
	for id := range m.txns {
		ids = append(ids, id)
	}
	return ids
}

// Description is the public state of a transactional id.
type Description struct {
	ID         string
	ProducerID int64
	Epoch      int16
	State      kmsg.TransactionState
	Timeout    time.Duration
	Start      time.Time // zero when no transaction is open
	Partitions []TopicPartition
}
