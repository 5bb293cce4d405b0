package log

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
	"thalweg/internal/defect"
)

// sequencesKept is how many batches of a producer the log can recognize as duplicates: what clients keep in flight.
const sequencesKept = 5

// sequenced is one batch of an idempotent producer.
type sequenced struct {
	firstSequence int32
	lastSequence  int32
	baseOffset    int64
	lastOffset    int64
	timestamp     int64 // milliseconds: its largest, or that of appending under log append time
}

// producer is what the log knows about one producer id. It is a flat value: an append works on a copy and puts it back
// when the batches are written.
type producer struct {
	id               int64
	epoch            int16
	coordinatorEpoch int32 // of the last marker; -1 before
	touched          int64 // milliseconds by the broker's clock
	lastTimestamp    int64
	txnFirst         int64 // first offset of the open transaction; -1 without one
	recent           [sequencesKept]sequenced
	kept             int // of recent, oldest first; all of this epoch
}

func newProducer(id int64) producer {
	return producer{id: id, epoch: -1, coordinatorEpoch: -1, lastTimestamp: -1, txnFirst: -1}
}

func (p *producer) lastSequence() int32 {
	if p.kept == 0 {
		return -1
	}
	return p.recent[p.kept-1].lastSequence
}

// duplicate returns the batch that b repeats.
func (p *producer) duplicate(b batch.Batch) (sequenced, bool) {
	if p.epoch != b.ProducerEpoch() || defect.UncheckedSequence {
		return sequenced{}, false
	}
	first, last := b.BaseSequence(), b.LastSequence()
	for _, s := range p.recent[:p.kept] {
		if s.firstSequence == first && s.lastSequence == last {
			return s, true
		}
	}
	return sequenced{}, false
}

// check tells whether b, which is no duplicate, may be appended.
func (p *producer) check(b batch.Batch, origin Origin, freshEpochs bool) error {
	if b.ProducerEpoch() < p.epoch {
		return fmt.Errorf("producer %d: epoch %d is older than %d: %w",
			p.id, b.ProducerEpoch(), p.epoch, kerr.InvalidProducerEpoch)
	}
	if p.txnFirst >= 0 && !b.IsTransactional() {
		return fmt.Errorf("producer %d: a batch outside of the transaction open since offset %d: %w",
			p.id, p.txnFirst, kerr.InvalidTxnState)
	}
	first := b.BaseSequence()
	if origin == OriginCoordinator && first < 0 || p.epoch < 0 && !(freshEpochs && b.IsTransactional()) {
		return nil
	}
	want := int32(0)
	if b.ProducerEpoch() == p.epoch && p.kept > 0 {
		want = batch.AddSequence(p.lastSequence(), 1)
	}
	if first != want && !defect.UncheckedSequence {
		return fmt.Errorf("producer %d: epoch %d: sequence %d, want %d: %w",
			p.id, b.ProducerEpoch(), first, want, kerr.OutOfOrderSequenceNumber)
	}
	return nil
}

// append notes that b lies at [base, last]. It returns whether b opened a transaction.
func (p *producer) append(b batch.Batch, base, last, now int64) (opened bool) {
	if p.epoch != b.ProducerEpoch() {
		p.epoch, p.kept = b.ProducerEpoch(), 0
	}
	p.touched, p.lastTimestamp = now, b.MaxTimestamp()
	if b.BaseSequence() >= 0 {
		if p.kept == sequencesKept {
			copy(p.recent[:], p.recent[1:])
			p.kept--
		}
		p.recent[p.kept] = sequenced{b.BaseSequence(), b.LastSequence(), base, last, b.MaxTimestamp()}
		p.kept++
	}
	if b.IsTransactional() && p.txnFirst < 0 {
		p.txnFirst = base
		return true
	}
	return false
}

// checkMarker tells whether the marker may end the producer's transaction.
func (p *producer) checkMarker(epoch int16, coordinatorEpoch int32) error {
	if epoch < p.epoch {
		return fmt.Errorf("producer %d: marker of epoch %d after epoch %d: %w", p.id, epoch, p.epoch,
			kerr.InvalidProducerEpoch)
	}
	if coordinatorEpoch < p.coordinatorEpoch {
		return fmt.Errorf("producer %d: marker of coordinator epoch %d after %d: %w", p.id, coordinatorEpoch,
			p.coordinatorEpoch, kerr.TransactionCoordinatorFenced)
	}
	return nil
}

// mark notes a marker. It returns the first offset of the transaction that it ended, -1 when none was open.
func (p *producer) mark(epoch int16, coordinatorEpoch int32, timestamp, now int64) (first int64) {
	if epoch != p.epoch {
		p.epoch, p.kept = epoch, 0
	}
	p.coordinatorEpoch, p.touched, p.lastTimestamp = coordinatorEpoch, now, timestamp
	first, p.txnFirst = p.txnFirst, -1
	return first
}

// producers holds the state of all producers of a log, by id.
type producers map[int64]producer

func (ps producers) get(id int64) producer {
	if p, ok := ps[id]; ok {
		return p
	}
	return newProducer(id)
}

// expire forgets producers without an open transaction that were silent since before (milliseconds).
func (ps producers) expire(before int64) {
	maps.DeleteFunc(ps, func(_ int64, p producer) bool { return p.txnFirst < 0 && p.touched < before })
}

func (ps producers) sorted() []producer {
	return slices.SortedFunc(maps.Values(ps), func(a, b producer) int { return cmp.Compare(a.id, b.id) })
}

// openTxns returns the open transactions.
func (ps producers) openTxns() openTxns {
	var open openTxns
	for _, p := range ps {
		if p.txnFirst >= 0 {
			open = open.open(p.id, p.txnFirst)
		}
	}
	slices.SortFunc(open, func(a, b openTxn) int { return cmp.Compare(a.first, b.first) })
	return open
}
