package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/txn"
	"thalweg/internal/defect"
)

// txnFences order the appends of a transaction before its markers. An append holds the fence of its transactional id
// shared, from before it asks the coordinator until it is written. The writer of markers takes the fence exclusively
// for a moment, after the coordinator has closed the transaction. So no batch lands behind its own transaction's
// marker.
type txnFences struct {
	seed maphash.Seed
	once sync.Once
	rw   [64]sync.RWMutex
}

func (g *txnFences) of(transactionalID string) *sync.RWMutex {
	g.once.Do(func() { g.seed = maphash.MakeSeed() })
	return &g.rw[maphash.String(g.seed, transactionalID)%uint64(len(g.rw))]
}

// producerIDs hands out producer ids. Each start of a broker begins at an id of its own choice, at random. So a broker
// on a copy of a data directory, which does not know what the original has handed out since, gives no id twice.
// That is as certain as that random ranges differ: a start takes one of 2^42 ranges of 2^20 ids.
type producerIDs struct {
	mu         sync.Mutex
	next, left int64
}

const (
	producerIDRanges = 1 << 42
	producerIDRange  = 1 << 20
)

func (p *producerIDs) take() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		p.next, p.left = rand.Int64N(producerIDRanges)*producerIDRange, producerIDRange
	}
	id := p.next
	p.next, p.left = p.next+1, p.left-1
	return id
}

// joinTransaction makes partitions part of a producer's transaction, once the one before is complete. The LSN is for
// b.txns.Wait. fence is the id's fence if the caller holds it shared: it is released during the wait. It may be nil.
func (b *broker) joinTransaction(ctx context.Context, r *txn.AddRequest, fence *sync.RWMutex) (
	lsn int64, failed *kerr.Error,
) {
	lsn, failed = b.join(r)
	if failed != kerr.ConcurrentTransactions {
		return lsn, failed
	}
	if fence != nil {
		fence.RUnlock()
	}
	err := b.transactionEnded(ctx, r.ID)
	if fence != nil {
		fence.RLock()
	}
	if err != nil {
		return lsn, failed
	}
	return b.join(r)
}

func (b *broker) join(r *txn.AddRequest) (lsn int64, failed *kerr.Error) {
	lsn, err := b.txns.Do(func(now time.Time) (step coord.Step) {
		step, failed = b.txnMachine.Add(r, now)
		return step
	})
	if err != nil {
		return -1, b.storageError(err)
	}
	return lsn, failed
}

// storageError logs what went wrong with a log and returns what clients are told. What is offline was logged when the
// broker started.
func (b *broker) storageError(err error) *kerr.Error {
	if errors.Is(err, coord.ErrOffline) {
		return kerr.CoordinatorNotAvailable
	}
	b.complain("broker: storage", err)
	return kerr.KafkaStorageError
}

// finishLater writes a transaction's markers in the background, once the decision is durable. The decision stands: what
// fails is tried again, and after the next start if need be. The channel is closed when all markers are written,
// durable or not.
func (b *broker) finishLater(e txn.Ending, decided int64) (written <-chan struct{}) {
	all := make(chan struct{})
	markersWritten := sync.OnceFunc(func() { close(all) })
	b.background.Add(1)
	go func() {
		defer b.background.Done()
		for {
			err := b.finish(e, decided, markersWritten)
			if err == nil {
				return
			}
			b.complain("broker: finish transaction", err, "transactional id", e.ID)
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
	return all
}

// finishRetry is the time between two attempts to write markers.
const finishRetry = 5 * time.Second

// finish carries out a decision, and calls written in between. COMPLETE is recorded only after all markers are durable,
// so that a crash before repeats them; a marker more than one is harmless.
func (b *broker) finish(e txn.Ending, decided int64, written func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	if err := b.txns.Wait(ctx, decided); err != nil {
		return err
	}
	fence := b.fences.of(e.ID)
	fence.Lock()
	//lint:ignore SA2001 an append that asked before the decision is written when the lock is had
	fence.Unlock()
	parts, last, err := b.writeMarkers(e)
	if err != nil {
		return err
	}
	written()
	for i, p := range parts {
		if err := p.log.WaitDurable(ctx, last[i]); err != nil {
			return fmt.Errorf("marker in %s-%d: %w", p.topic, p.index, err)
		}
	}
	_, err = b.txns.Do(func(now time.Time) coord.Step { return b.txnMachine.Complete(e, now) })
	return err
}

// writeMarkers appends the markers, which share an fsync. It returns the partitions that have one, and its offset.
func (b *broker) writeMarkers(e txn.Ending) (parts []*partition, last []int64, err error) {
	logs := make([]*log.Log, 0, len(e.Partitions))
	defer func() { b.syncer.ScheduleSync(logs...) }()
	marker := log.Marker{ProducerID: e.ProducerID, ProducerEpoch: e.Epoch, Commit: e.Commit}
	set := b.topics.load()
	for i, tp := range e.Partitions {
		if defect.LostMarker && i > 0 {
			break
		}
		p, kerror := set.partition(tp.Topic, tp.Partition)
		switch kerror {
		case nil:
		case kerr.UnknownTopicOrPartition:
			continue // deleted, and its records with it
		default:
			return nil, nil, fmt.Errorf("marker in %s-%d: %w", tp.Topic, tp.Partition, kerror)
		}
		offset, err := b.appendMarker(p, marker)
		if err != nil {
			return nil, nil, fmt.Errorf("marker in %s-%d: %w", tp.Topic, tp.Partition, err)
		}
		parts, last, logs = append(parts, p), append(last, offset), append(logs, p.log)
	}
	return parts, last, nil
}

// appendMarker appends a marker that is synced with others: call Syncer.ScheduleSync after the last one.
func (b *broker) appendMarker(p *partition, m log.Marker) (int64, error) {
	switch p {
	case b.offsets:
		return b.groups.Marker(m)
	case b.txnState:
		return b.txns.Marker(m)
	}
	done, err := p.log.AppendMarkerNoSync(m)
	return done.LastOffset, err
}

// finishDue finishes the transactions that ran out of time.
func (b *broker) finishDue() {
	var due []txn.Ending
	lsn, err := b.txns.View(func(time.Time) { due = b.txnMachine.TakeDue() })
	if err != nil {
		return // a shard that is offline has no ticks
	}
	for _, e := range due {
		b.cfg.Logger.Info("broker: transaction timed out", "transactional id", e.ID, "producer id", e.ProducerID)
		b.finishLater(e, lsn)
	}
}

// transactionEnded returns once the transactional id has no transaction whose markers are being written. That takes
// about one fsync after the answer to EndTxn. So the producer's next transaction waits here rather than being sent away
// with CONCURRENT_TRANSACTIONS. The id's fence is not held.
func (b *broker) transactionEnded(ctx context.Context, id string) error {
	var done <-chan struct{}
	if _, err := b.txns.View(func(time.Time) { done = b.txnMachine.Ended(id) }); err != nil {
		return err
	}
	if done == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.stop:
		return ErrClosed
	}
}

// adoptTransactions brings the coordinator and the transactions that are open in partitions together after recovery,
// and finishes those whose end is decided. Without the coordinator nobody knows what was decided: they stay open.
func (b *broker) adoptTransactions() {
	if b.txns.Err() != nil {
		return
	}
	for p := range b.topics.load().online() {
		for _, open := range p.log.OpenTransactions() {
			if err := b.adopt(p, open); err != nil {
				// A full disk, say. What waits for the transaction's end waits until the next start.
				b.cfg.Logger.Error("broker: open transaction", "topic", p.topic, "partition", p.index,
					"producer id", open.ProducerID, "err", err)
			}
		}
	}
	var unfinished []txn.Ending
	lsn, _ := b.txns.View(func(time.Time) { unfinished = b.txnMachine.Unfinished() })
	for _, e := range unfinished {
		b.finishLater(e, lsn)
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
	defer b.syncer.ScheduleSync(p.log)
	_, err = b.appendMarker(p, log.Marker{ProducerID: open.ProducerID, ProducerEpoch: open.ProducerEpoch})
	return err
}
