package broker

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/txn"
)

// gates order appends of a transaction against its markers. Whoever appends holds its transactional id's gate shared
// while it asks the coordinator and appends; whoever writes markers takes the gate alone for a moment after the
// coordinator has closed the transaction. So no batch lands behind its own transaction's marker.
type gates struct {
	seed maphash.Seed
	once sync.Once
	rw   [64]sync.RWMutex
}

func (g *gates) of(transactionalID string) *sync.RWMutex {
	g.once.Do(func() { g.seed = maphash.MakeSeed() })
	return &g.rw[maphash.String(g.seed, transactionalID)%uint64(len(g.rw))]
}

// producerIDs hands out producer ids from blocks that the metadata log has put aside: an id is never given twice.
type producerIDs struct {
	mu        sync.Mutex
	next, end int64
}

func (b *broker) nextProducerID() (int64, error) {
	p := &b.pids
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		var first int64
		err := b.changeMetadata(func() (step coord.Step, err error) {
			first, step, err = b.metaMachine.TakeProducerIDs(producerIDBlock)
			return step, err
		})
		if err != nil {
			return 0, err
		}
		p.next, p.end = first, first+producerIDBlock
	}
	p.next++
	return p.next - 1, nil
}

// joinTransaction makes partitions part of a producer's transaction. The ticket is for b.txns.
func (b *broker) joinTransaction(r *txn.AddRequest) (ticket int64, failed *kerr.Error) {
	ticket, err := b.txns.Do(func(now time.Time) (step coord.Step) {
		step, failed = b.txnMachine.Add(r, now)
		return step
	})
	if err != nil {
		return -1, b.storageError(err)
	}
	return ticket, failed
}

// storageError logs what went wrong with a log and returns what clients are told.
func (b *broker) storageError(err error) *kerr.Error {
	b.cfg.Logger.Error("broker: storage", "err", err)
	return kerr.KafkaStorageError
}

// finishLater writes a transaction's markers in the background, once the decision is durable. The decision stands: what
// fails is tried again, and after the next start if need be.
func (b *broker) finishLater(e txn.Ending, decided int64) {
	b.background.Add(1)
	go func() {
		defer b.background.Done()
		for {
			err := b.finish(e, decided)
			if err == nil {
				return
			}
			b.cfg.Logger.Error("broker: finish transaction", "transactional id", e.ID, "err", err)
			again := make(chan struct{})
			stop := b.cfg.Clock.AfterFunc(finishRetry, func() { close(again) })
			select {
			case <-again:
			case <-b.stop:
				stop()
				return
			}
		}
	}()
}

// finishRetry is the time between two attempts to write markers.
const finishRetry = 5 * time.Second

// finish carries out a decision. COMPLETE is recorded only after all markers are durable, so that a crash before
// repeats them; a marker more than one is harmless.
func (b *broker) finish(e txn.Ending, decided int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	if err := b.txns.Wait(ctx, decided); err != nil {
		return err
	}
	gate := b.gates.of(e.ID)
	gate.Lock()
	//lint:ignore SA2001 whoever asked before the decision has appended when the lock is had
	gate.Unlock()
	marker := log.Marker{ProducerID: e.ProducerID, ProducerEpoch: e.Epoch, Commit: e.Commit}
	last := make([]int64, len(e.Partitions))
	parts := make([]*partition, len(e.Partitions))
	for i, tp := range e.Partitions {
		p, kerror := b.topics.load().partition(tp.Topic, tp.Partition)
		switch kerror {
		case nil:
		case kerr.UnknownTopicOrPartition:
			continue // deleted, and its records with it
		default:
			return fmt.Errorf("marker in %s-%d: %w", tp.Topic, tp.Partition, kerror)
		}
		offset, err := b.appendMarker(p, marker)
		if err != nil {
			return fmt.Errorf("marker in %s-%d: %w", tp.Topic, tp.Partition, err)
		}
		parts[i], last[i] = p, offset
	}
	for i, p := range parts {
		if p == nil {
			continue
		}
		if err := p.log.WaitDurable(ctx, last[i]); err != nil {
			return fmt.Errorf("marker in %s-%d: %w", p.topic, p.index, err)
		}
	}
	_, err := b.txns.Do(func(now time.Time) coord.Step { return b.txnMachine.Complete(e, now) })
	return err
}

func (b *broker) appendMarker(p *partition, m log.Marker) (int64, error) {
	if p == b.offsets {
		return b.groups.Marker(m)
	}
	done, err := p.log.AppendMarker(m)
	return done.LastOffset, err
}

// finishDue finishes the transactions that ran out of time.
func (b *broker) finishDue() {
	var due []txn.Ending
	ticket := b.txns.View(func(time.Time) { due = b.txnMachine.TakeDue() })
	for _, e := range due {
		b.cfg.Logger.Info("broker: transaction timed out", "transactional id", e.ID, "producer id", e.ProducerID)
		b.finishLater(e, ticket)
	}
}

// transactionEnded returns once the transactional id has no transaction whose markers are being written.
func (b *broker) transactionEnded(ctx context.Context, id string) error {
	done := make(chan struct{})
	b.txns.View(func(time.Time) { b.txnMachine.Wait(id, func() { close(done) }) })
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// adoptTransactions brings the coordinator and the transactions that are open in partitions together after recovery.
func (b *broker) adoptTransactions() {
	for p := range b.topics.load().online() {
		for _, open := range p.log.OpenTransactions() {
			if err := b.adopt(p, open); err != nil {
				// A full disk, say. What waits for the transaction's end waits until the next start.
				b.cfg.Logger.Error("broker: open transaction", "topic", p.topic, "partition", p.index,
					"producer id", open.ProducerID, "err", err)
			}
		}
	}
}

func (b *broker) adopt(p *partition, open log.OpenTransaction) error {
	producer := coord.Producer{ID: open.ProducerID, Epoch: open.ProducerEpoch}
	orphan := false
	_, err := b.txns.Do(func(now time.Time) (step coord.Step) {
		step, orphan = b.txnMachine.Adopt(producer, txn.TopicPartition{Topic: p.topic, Partition: p.index}, now)
		return step
	})
	if err != nil || !orphan {
		return err
	}
	b.cfg.Logger.Warn("broker: aborting a transaction that its coordinator does not know",
		"topic", p.topic, "partition", p.index, "producer id", open.ProducerID, "first offset", open.FirstOffset)
	_, err = b.appendMarker(p, log.Marker{ProducerID: open.ProducerID, ProducerEpoch: open.ProducerEpoch})
	return err
}
