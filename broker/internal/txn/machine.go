// Package txn is the transaction coordinator as a fold over __transaction_state.
//
// One entry per transactional id, in Kafka's own record format (TxnMetadataKey and
// TxnMetadataValue), moves through these states:
//
//	Empty ──► Ongoing ──► PrepareCommit ──► CompleteCommit ─┐
//	  ▲          ▲  └───► PrepareAbort ───► CompleteAbort ──┤
//	  │          └──────────────────────────────────────────┤
//	  └─────────────────────────────────────────────────────┘
//
// The decision is the PREPARE record. It names every partition, and once it is
// durable the transaction's fate is sealed: the markers are written then, and
// written again after a crash, until all are durable and COMPLETE is appended.
//
// Epochs follow KIP-890. A producer that speaks transaction version 2 gets a new
// epoch with every transaction: PREPARE, markers and COMPLETE carry epoch+1, and so
// does the answer. An EndTxn that was delayed carries the old epoch and can't end a
// later transaction; a produce that was delayed is refused by the partition, whose
// marker raised the epoch. An older producer keeps its epoch until it asks for
// another by InitProducerId. Whenever the coordinator itself aborts (timeout, or a
// new instance), the epoch is raised too, which fences the old instance.
package txn

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// maxEpoch is the last epoch that a producer works with; the one after it only ever fences.
const maxEpoch = math.MaxInt16 - 1

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Config bounds what producers may ask for.
type Config struct {
	MaxTimeout time.Duration
	// IDExpiry is how long an idle transactional id is remembered.
	IDExpiry time.Duration
}

// Machine holds all transactional ids. See coord.Machine.
type Machine struct {
	cfg    Config
	txns   map[string]*txn
	byPID  map[int64]string
	timers coord.Timers[string] // of an Ongoing one: its timeout; of an idle one: its expiry
	// due collects the transactions that Tick began to abort, for TakeDue.
	due []Ending
}

// txn is one transactional id.
type txn struct {
	id         string
	pid        int64
	epoch      int16
	prevPID    int64 // the id before a change of ids, so that a repeated EndTxn is recognized; -1 if none
	nextPID    int64 // what the producer changes to at COMPLETE, when its epochs are used up; -1 if none
	retryEpoch int16 // the epoch whose EndTxn, or InitProducerId, made this one; -1 when a repetition is to be fenced
	timeout    time.Duration
	state      kmsg.TransactionState
	partitions map[TopicPartition]struct{}
	start      time.Time
	update     time.Time
	version    int16 // the transaction version that its client speaks
	// ended is soft: closed when the ending transaction is complete, nil while nobody waits for that.
	ended chan struct{}
}

// Ending is a transaction whose fate is decided and whose markers are to be written.
type Ending struct {
	ID         string
	ProducerID int64
	Epoch      int16 // of the markers
	Commit     bool
	Partitions []TopicPartition
}

// New returns an empty machine.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, txns: make(map[string]*txn), byPID: make(map[int64]string)}
}

func (t *txn) preparing() bool {
	return t.state == kmsg.TransactionStatePrepareCommit || t.state == kmsg.TransactionStatePrepareAbort
}

func (t *txn) ending() Ending {
	e := Ending{ID: t.id, ProducerID: t.pid, Epoch: t.epoch, Commit: t.state == kmsg.TransactionStatePrepareCommit}
	for tp := range t.partitions {
		e.Partitions = append(e.Partitions, tp)
	}
	slices.SortFunc(e.Partitions, comparePartitions)
	return e
}

func comparePartitions(a, b TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// Unfinished returns the transactions whose markers are still to be written: after recovery, finish them. Those that
// Tick began to abort by then are among them, and no longer due.
func (m *Machine) Unfinished() []Ending {
	m.due = nil
	var endings []Ending
	for _, t := range m.txns {
		if t.preparing() {
			endings = append(endings, t.ending())
		}
	}
	return endings
}

// TakeDue returns, once, the transactions that Tick began to abort.
func (m *Machine) TakeDue() []Ending {
	due := m.due
	m.due = nil
	return due
}

// Ended returns nil when the transactional id has no transaction that is ending, and otherwise a channel that is closed
// once it is complete.
func (m *Machine) Ended(id string) <-chan struct{} {
	t := m.txns[id]
	if t == nil || !t.preparing() {
		return nil
	}
	if t.ended == nil {
		t.ended = make(chan struct{})
	}
	return t.ended
}

// Complete answers that all markers of an ending transaction are durable.
func (m *Machine) Complete(e Ending, now time.Time) (step coord.Step) {
	t := m.txns[e.ID]
	if t == nil || !t.preparing() || t.pid != e.ProducerID || t.epoch != e.Epoch {
		return step
	}
	next := t.completed(now)
	step.Records = append(step.Records, next.record())
	return step
}

// completed is an ending transaction after its end.
func (t *txn) completed(now time.Time) txn {
	next := *t
	next.state = kmsg.TransactionStateCompleteAbort
	if t.state == kmsg.TransactionStatePrepareCommit {
		next.state = kmsg.TransactionStateCompleteCommit
	}
	next.partitions = nil
	next.update = now
	if t.nextPID >= 0 {
		next.prevPID, next.pid, next.nextPID, next.epoch = t.pid, t.nextPID, -1, 0
	}
	return next
}

// Deadline implements coord.Machine.
func (m *Machine) Deadline() time.Time { return m.timers.Deadline() }

// Tick aborts transactions that ran out of time and forgets ids that nobody used for long.
func (m *Machine) Tick(now time.Time) (step coord.Step) {
	for range maxDuePerTick {
		id, ok := m.timers.Pop(now)
		if !ok {
			return step
		}
		t := m.txns[id]
		switch {
		case t == nil || t.preparing():
		case t.state == kmsg.TransactionStateOngoing:
			next := t.prepare(false, now)
			next.epoch, next.retryEpoch = t.epoch+1, -1 // fences the producer that was too slow
			step.Records = append(step.Records, next.record())
			due := next.ending()
			step.Reply(func(err error) {
				if err == nil {
					m.txns[id].retryEpoch = -1
					m.due = append(m.due, due)
				} else {
					m.timers.Set(id, now.Add(retryAfter))
				}
			})
		default:
			step.Put(t.key(), nil)
			step.Reply(func(err error) {
				if err != nil {
					m.timers.Set(id, now.Add(retryAfter))
				}
			})
		}
	}
	return step
}

const (
	maxDuePerTick = 1000
	retryAfter    = 10 * time.Second // when the log refuses records
)

// prepare returns the transaction as it is to be recorded when its fate is decided. The epoch is the caller's.
func (t *txn) prepare(commit bool, now time.Time) txn {
	next := *t
	next.state = kmsg.TransactionStatePrepareAbort
	if commit {
		next.state = kmsg.TransactionStatePrepareCommit
	}
	next.update = now
	if next.start.IsZero() {
		next.start = now
	}
	return next
}
