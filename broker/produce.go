package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/internal/log"
	"thalweg/broker/internal/txn"
	"thalweg/internal/batch"
	"thalweg/internal/defect"
	"thalweg/internal/direct"
)

func (b *broker) Produce(ctx context.Context, req direct.ProduceRequest) ([]direct.ProduceResult, error) {
	p := b.newProduce(req.TransactionalID, true, len(req.Partitions))
	if req.Summed {
		p.origin = log.OriginProcess
	}
	for i, part := range req.Partitions {
		target, err := b.topics.load().partition(part.Topic, part.Partition)
		p.add(target, err, part.Batches)
		p.results[i].Topic, p.results[i].Partition = part.Topic, part.Partition
	}
	p.all = req.Acks == direct.AcksAll
	p.append(ctx)
	if req.Acks != direct.AcksNone {
		p.wait(ctx)
	}
	b.counters.produced(p.parts, p.results)
	return p.results, b.closedOr(ctx)
}

// produce is one request on its way. Appending and waiting are apart, so that a connection's next request is appended
// while this one waits for the disk.
type produce struct {
	b        *broker
	id       string
	version2 bool // partitions join the transaction by being written to
	origin   log.Origin
	all      bool // replicas are asked for: acks=all
	parts    []producePart
	results  []direct.ProduceResult
	joined   int64 // LSN for b.txns.Wait, -1 without a transaction
}

type producePart struct {
	target  *partition
	batches []byte
	last    int64 // offset to wait for, -1 if none
}

func (b *broker) newProduce(id string, version2 bool, parts int) *produce {
	return &produce{
		b: b, id: id, version2: version2, joined: -1,
		parts: make([]producePart, 0, parts), results: make([]direct.ProduceResult, 0, parts),
	}
}

// add is the next partition; target is nil when there is an error.
func (p *produce) add(target *partition, err *kerr.Error, batches []byte) {
	p.parts = append(p.parts, producePart{target, batches, -1})
	r := direct.ProduceResult{BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1}
	if target != nil {
		r.Topic, r.Partition = target.topic, target.index
		if isInternal(target.topic) {
			err = kerr.InvalidTopicException
		}
	}
	if err != nil {
		r.Err = err
	}
	p.results = append(p.results, r)
}

func (p *produce) fail(err *kerr.Error) {
	for i := range p.results {
		if p.results[i].Err == nil {
			p.results[i].Err = err
		}
	}
}

func (p *produce) append(ctx context.Context) {
	for i := range p.parts {
		if r := &p.results[i]; p.all && r.Err == nil && p.parts[i].target.replicas.Load() > 1 {
			r.Err = kerr.NotEnoughReplicas
		}
	}
	if p.id != "" {
		fence := p.b.fences.of(p.id)
		fence.RLock()
		defer fence.RUnlock()
		p.join(ctx, fence)
	}
	for i := range p.parts {
		part, r := &p.parts[i], &p.results[i]
		if r.Err != nil {
			continue
		}
		if p.id == "" && isTransactional(part.batches) {
			r.Err = kerr.InvalidTxnState
			continue
		}
		done, err := part.target.log.AppendNoSync(part.batches, p.origin, p.version2)
		r.LogStartOffset = part.target.log.Start()
		if err != nil {
			r.Err = p.b.appendError(part.target, err)
			continue
		}
		part.last = done.LastOffset
		r.BaseOffset, r.LogAppendTime, r.LogStartOffset = done.BaseOffset, done.LogAppendTime, done.LogStart
	}
	p.scheduleSync()
}

// scheduleSync makes everything that was appended durable, with one fsync.
func (p *produce) scheduleSync() {
	logs := make([]*log.Log, 0, len(p.parts))
	for i := range p.parts {
		part := &p.parts[i]
		if n := len(logs); part.last >= 0 && (n == 0 || logs[n-1] != part.target.log) {
			logs = append(logs, part.target.log)
		}
	}
	p.b.syncer.ScheduleSync(logs...)
}

func isTransactional(batches []byte) bool {
	first, _, err := batch.Parse(batches)
	return err == nil && first.IsTransactional()
}

// join asks the coordinator to let the transactional batches in.
func (p *produce) join(ctx context.Context, fence *sync.RWMutex) {
	add := txn.AddRequest{ID: p.id, VerifyOnly: !p.version2, Version2: p.version2}
	for i := range p.parts {
		first, _, err := batch.Parse(p.parts[i].batches)
		if p.results[i].Err != nil || err != nil || !first.IsTransactional() {
			continue
		}
		if len(add.Partitions) > 0 && (add.ProducerID != first.ProducerID() || add.Epoch != first.ProducerEpoch()) {
			p.results[i].Err = kerr.InvalidTxnState
			continue
		}
		add.ProducerID, add.Epoch = first.ProducerID(), first.ProducerEpoch()
		target := p.parts[i].target
		add.Partitions = append(add.Partitions, txn.TopicPartition{Topic: target.topic, Partition: target.index})
	}
	if len(add.Partitions) == 0 {
		return
	}
	lsn, err := p.b.joinTransaction(ctx, &add, fence)
	switch {
	case err == nil:
		p.joined = lsn
		return
	case err == kerr.ProducerFenced:
		err = kerr.InvalidProducerEpoch
	case err == kerr.TransactionAbortable && !p.version2:
		err = kerr.InvalidTxnState
	case err == kerr.CoordinatorNotAvailable: // no answer to Produce; both are tried again
		err = kerr.KafkaStorageError
	}
	p.fail(err)
}

// wait returns once everything that was appended is durable, or marks it as failed.
func (p *produce) wait(ctx context.Context) {
	if defect.EarlyAcknowledgment { // before the bytes are written to the disk
		return
	}
	if err := p.b.txns.Wait(ctx, p.joined); err != nil {
		p.fail(p.b.waitError(ctx, err))
		return
	}
	for i := range p.parts {
		part, r := &p.parts[i], &p.results[i]
		if r.Err != nil || part.last < 0 {
			continue
		}
		if err := part.target.log.WaitDurable(ctx, part.last); err != nil {
			r.Err, r.BaseOffset = p.b.waitError(ctx, err), -1
		}
	}
}

// waitError is what a request is told whose records did not become durable in its time.
func (b *broker) waitError(ctx context.Context, err error) *kerr.Error {
	if ctx.Err() != nil {
		return kerr.RequestTimedOut
	}
	return b.storageError(err)
}

// appendError keeps an error of the protocol and makes one of any other.
func (b *broker) appendError(p *partition, err error) error {
	var known *kerr.Error
	if !errors.As(err, &known) {
		err = fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	} else if known != kerr.KafkaStorageError {
		return err
	}
	args := []any{"topic", p.topic, "partition", p.index, "err", err}
	if isFull(err) && p.log.Err() == nil { // else the log failed for good, and err says what to do
		// Each try of each client fails until there is room.
		if !b.sparing.say("full "+partitionDir(p.topic, p.index), b.steady.Now()) {
			return err
		}
		args = append(args, "remedy", fullRemedy)
	}
	b.cfg.Logger.Error("broker: append", args...)
	return err
}
