package kclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/defect"
)

// InitProducer gets a producer identity and drops everything that is queued, with ErrDiscarded. It is called first,
// and after errors as their Class says. With a TransactionalID it fences all others that use it, and ends what the
// predecessor left open: it has been aborted, or committed if its end had been decided, when InitProducer returns.
func (c *Client) InitProducer(ctx context.Context) error { return c.producer.init(ctx) }

func (p *producer) init(ctx context.Context) error {
	p.mu.Lock()
	p.err = errNoProducer
	p.discard()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return ErrClosed
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	req.TransactionTimeoutMillis = int32(p.txnTimeout.Milliseconds())
	if p.transactionalID != "" {
		req.TransactionalID = kmsg.StringPtr(p.transactionalID)
	}
	resp, err := request(ctx, p.retryMax, "producer id", nil,
		func(ctx context.Context) (*kmsg.InitProducerIDResponse, error) { return req.RequestWith(ctx, p.client) },
		func(r *kmsg.InitProducerIDResponse) error { return kerr.ErrorForCode(r.ErrorCode) })
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(resp.ProducerID, resp.ProducerEpoch)
	return nil
}

// start begins anew with an identity that nothing was written with. It needs the mutex.
func (p *producer) start(id int64, epoch int16) {
	p.id, p.epoch = id, epoch
	for _, q := range p.partitions {
		q.sequence = 0
	}
	p.endTransaction()
}

// endTransaction forgets the transaction. It needs the mutex.
func (p *producer) endTransaction() {
	p.begun, p.groupIn, p.hold, p.giveUp = false, false, false, false
	p.err = nil
	clear(p.added)
	p.changed.Broadcast()
}

// addPartitions tells the coordinator what the transaction is going to write to, where that is not implied.
func (p *producer) addPartitions(ctx context.Context, round []*produceTry) error {
	if p.transactionalID == "" || p.implicit {
		return nil
	}
	var missing []TopicPartition
	for _, t := range round {
		if !p.added[t.TopicPartition] {
			missing = append(missing, t.TopicPartition)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.transactionalID, p.id, p.epoch
	byTopic(missing, func(tp TopicPartition) TopicPartition { return tp }, func(topic string, tps []TopicPartition) {
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic = topic
		for _, tp := range tps {
			t.Partitions = append(t.Partitions, tp.Partition)
		}
		req.Topics = append(req.Topics, t)
	})
	_, err := request(ctx, p.retryMax, "add partitions to transaction", nil,
		func(ctx context.Context) (*kmsg.AddPartitionsToTxnResponse, error) {
			return req.RequestWith(ctx, p.client)
		},
		func(r *kmsg.AddPartitionsToTxnResponse) error {
			for _, t := range r.Topics {
				for _, pr := range t.Partitions {
					err := kerr.ErrorForCode(pr.ErrorCode)
					if err != nil && !errors.Is(err, kerr.OperationNotAttempted) {
						return fmt.Errorf("%s-%d: %w", t.Topic, pr.Partition, err)
					}
				}
			}
			return nil
		})
	if err != nil {
		return &Error{ClassOf(err), err}
	}
	if p.added == nil {
		p.added = make(map[TopicPartition]bool)
	}
	for _, tp := range missing {
		p.added[tp] = true
	}
	return nil
}

// EndTxn ends the transaction. A commit first waits for everything queued; when it returns nil, all that was
// produced and the offsets of SendOffsets are committed. An abort drops what is queued, with ErrDiscarded, and
// heals an error of class Abort. Without anything produced and offsets sent, both do nothing. Produce may go on
// meanwhile, see there; SendOffsets may not.
//
// When a commit's answer is lost for good its error is Fenced: InitProducer finds the transaction an end, and
// CommittedOffsets tells which one it was.
func (c *Client) EndTxn(ctx context.Context, commit bool) error {
	p := c.producer
	if p.transactionalID == "" {
		return &Error{Fatal, errors.New("kclient: end transaction: the producer has no TransactionalID")}
	}
	return p.end(ctx, commit)
}

func (p *producer) end(ctx context.Context, commit bool) error {
	begun, err := p.beginEnd(ctx, commit)
	if err != nil || !begun {
		return err
	}
	return p.sendEnd(ctx, commit)
}

// sendEnd tells the coordinator, and begins anew.
func (p *producer) sendEnd(ctx context.Context, commit bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.transactionalID, p.id, p.epoch, commit
	what := "abort transaction "
	if commit {
		what = "commit transaction "
	}
	resp, err := request(ctx, p.retryMax, what+p.transactionalID, nil,
		func(ctx context.Context) (*kmsg.EndTxnResponse, error) {
			if defect.UnknownEnd && commit {
				return endWithin(ctx, req, p.client)
			}
			return req.RequestWith(ctx, p.client)
		},
		func(r *kmsg.EndTxnResponse) error { return kerr.ErrorForCode(r.ErrorCode) })
	if err != nil {
		return p.endFailed(ctx, commit, err)
	}
	if !commit && !p.implicit {
		// What was given up may still be on its way, and only a new epoch keeps it out of the next transaction.
		return p.init(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.implicit && resp.ProducerID >= 0 && resp.ProducerEpoch >= 0 {
		p.start(resp.ProducerID, resp.ProducerEpoch)
	} else {
		p.endTransaction() // the sequences go on
	}
	return nil
}

// endWithin takes an answer that does not come soon for success.
func endWithin(ctx context.Context, req *kmsg.EndTxnRequest, client *kgo.Client) (*kmsg.EndTxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return kmsg.NewPtrEndTxnResponse(), nil
	}
	return resp, nil
}

// beginEnd empties the queue and holds what comes after. It tells whether there is a transaction to end.
func (p *producer) beginEnd(ctx context.Context, commit bool) (begun bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if commit {
		if err := p.await(ctx, func() bool { return p.items == 0 }); err != nil {
			return false, err
		}
		p.hold = true
	} else {
		p.discard()
	}
	switch {
	case p.closed:
		return false, ErrClosed
	case p.begun:
		return true, nil
	case p.err == nil || ClassOf(p.err) == Abort && p.id >= 0:
		p.endTransaction()
	}
	return false, nil
}

// endFailed decides what an EndTxn that failed means. Until it is dealt with nothing more is sent.
func (p *producer) endFailed(ctx context.Context, commit bool, err error) error {
	e := &Error{ClassOf(err), err}
	code, _ := errors.AsType[*kerr.Error](err)
	switch {
	case commit && (code == nil || code.Retriable || e.Class == Canceled):
		e.Class = Fenced // it may have been committed
	case !commit && ctx.Err() == nil && e.Class == Abort:
		// The coordinator has no such transaction, or has ended it: a new identity settles it.
		return p.init(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = e
	p.changed.Broadcast()
	return e
}

// SendOffsets makes the group's offsets part of the transaction. It may run at the same time as Produce and Flush.
func (c *Client) SendOffsets(ctx context.Context, offsets []Offset) error {
	if len(offsets) == 0 {
		return nil
	}
	p := c.producer
	if p.transactionalID == "" {
		return &Error{Fatal, errors.New("kclient: send offsets: the producer has no TransactionalID")}
	}
	p.mu.Lock()
	err := p.err
	if p.closed {
		err = ErrClosed
	}
	id, epoch, addGroup := p.id, p.epoch, !p.implicit && !p.groupIn
	p.begun = p.begun || err == nil
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if addGroup {
		if err := p.addGroup(ctx, c.cfg.Group); err != nil {
			return p.fail(err)
		}
	}
	build := func(member string, generation int32) kmsg.Request {
		return c.offsets.txnCommitRequest(offsets, id, epoch, member, generation)
	}
	if err := c.offsets.send(ctx, "send offsets of group "+c.cfg.Group, offsets, build); err != nil {
		return p.fail(err)
	}
	return nil
}

// fail notes that the transaction can't be committed any more.
func (p *producer) fail(err error) error {
	e := &Error{ClassOf(err), err}
	if e.Class == Canceled {
		return e
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = e
		p.changed.Broadcast()
	}
	return e
}

func (p *producer) addGroup(ctx context.Context, group string) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.transactionalID, p.id, p.epoch, group
	_, err := request(ctx, p.retryMax, "add offsets to transaction", nil,
		func(ctx context.Context) (*kmsg.AddOffsetsToTxnResponse, error) {
			return req.RequestWith(ctx, p.client)
		},
		func(r *kmsg.AddOffsetsToTxnResponse) error { return kerr.ErrorForCode(r.ErrorCode) })
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groupIn = true
	return nil
}

func (o *groupOffsets) txnCommitRequest(offsets []Offset, id int64, epoch int16, member string, generation int32,
) kmsg.Request {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = o.cfg.TransactionalID, o.cfg.Group
	req.ProducerID, req.ProducerEpoch = id, epoch
	req.MemberID, req.Generation = member, generation
	if o.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(o.cfg.InstanceID)
	}
	byTopic(offsets, func(o Offset) TopicPartition { return o.TopicPartition }, func(topic string, offsets []Offset) {
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic, o.metadata.id(topic)
		for _, o := range offsets {
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = o.Partition, o.Next, o.LeaderEpoch
			p.Metadata = kmsg.StringPtr(o.Metadata)
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	})
	return req
}
