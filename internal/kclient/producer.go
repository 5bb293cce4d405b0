package kclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/batch"
)

// ErrDiscarded is the error of items that were dropped because the transaction was aborted or the producer started
// over.
var ErrDiscarded = errors.New("kclient: discarded with its transaction")

// errNoProducer is the state before the first InitProducer.
var errNoProducer = &Error{Abort, errors.New("kclient: produce: call InitProducer first")}

// producer sends batches in rounds: each round takes the first batch of every partition that has one, as one
// request per broker, and ends when all of them are answered. So one request per broker is in flight at most, and
// sequences can't get out of order. A batch is stamped with its sequence and sealed once; a retry sends the same bytes,
// which a broker that has them already recognises.
//
// To the bundled broker a round takes several batches of a partition, and inside of a transaction it waits until there
// is enough for it or someone waits for the end: what a round writes is forced to the disk at once.
type producer struct {
	transactionalID string
	bytesMax        int
	requestBytesMax int
	linger          int // bytes from which a round begins that nobody waits for
	roundBatches    int // of a partition
	retryMax        time.Duration
	txnTimeout      time.Duration
	transport       transport
	metadata        *metadata
	client          *kgo.Client
	log             *slog.Logger
	implicit        bool // partitions and group join the transaction by being written to
	running         sync.WaitGroup
	signal          chan struct{} // has a token when done has grown

	mu         sync.Mutex
	changed    *sync.Cond
	partitions map[TopicPartition]*producePartition
	waiting    []*producePartition // those with items, in the order of their first
	bytes      int                 // of all items that are not done
	items      int
	done       []Item
	err        error // why nothing can be sent until InitProducer, or the end of the transaction
	urgent     int   // callers that wait for what is queued
	closed     bool
	sending    bool
	hold       bool               // no further round begins: the transaction ends, or everything is to be discarded
	giveUp     bool               // the round under way ends and leaves its items to be discarded
	interrupt  context.CancelFunc // ends the requests of the round under way

	id      int64
	epoch   int16
	begun   bool                    // the broker may know of an open transaction
	added   map[TopicPartition]bool // in this transaction; unless implicit
	groupIn bool                    // in this transaction; unless implicit
}

// What a round to the bundled broker holds: of a partition at most, and inside of a transaction, unless somebody waits,
// at least. It may be more than the five batches of a producer that a partition recognises when they are repeated: a
// call tells what was appended, where an answer that is lost on a connection does not.
const (
	roundBatchesMax = 16
	lingerBytes     = 4 << 20
)

// producePartition is what waits for one partition.
type producePartition struct {
	TopicPartition
	items    []Item
	sequence int32 // of the next record
}

func newProducer(cfg Config, t transport, m *metadata, client *kgo.Client, implicit bool) *producer {
	p := &producer{
		transactionalID: cfg.TransactionalID,
		bytesMax:        cfg.ProduceBytesMax,
		requestBytesMax: cfg.ProduceRequestBytesMax,
		retryMax:        cfg.RetryTimeout,
		txnTimeout:      cfg.TransactionTimeout,
		transport:       t,
		metadata:        m,
		client:          client,
		log:             cfg.Logger,
		implicit:        implicit,
		signal:          make(chan struct{}, 1),
		partitions:      make(map[TopicPartition]*producePartition),
		err:             errNoProducer,
		id:              -1,
		epoch:           -1,
	}
	p.changed = sync.NewCond(&p.mu)
	p.roundBatches = 1
	if t.gathers() {
		p.roundBatches = roundBatchesMax
		if p.transactionalID != "" {
			p.linger = lingerBytes
		}
	}
	p.running.Go(p.run)
	return p
}

func (p *producer) close() {
	p.mu.Lock()
	p.closed = true
	p.stopRound()
	p.changed.Broadcast()
	p.mu.Unlock()
	p.running.Wait()
}

// stopRound makes the round under way end soon. It needs the mutex.
func (p *producer) stopRound() {
	p.giveUp = true
	if p.interrupt != nil {
		p.interrupt()
	}
}

// Produce queues batches, in the order given for each partition. It waits while more than ProduceBytesMax is
// queued. The error is the producer's, from this call or from what was sent before: then none of items was taken.
// What is queued while EndTxn is under way belongs to the next transaction.
func (c *Client) Produce(ctx context.Context, items []Item) error {
	return c.producer.enqueue(ctx, items)
}

// Produced has a token when TakeProduced has something.
func (c *Client) Produced() <-chan struct{} { return c.producer.signal }

// TakeProduced appends the items that were answered or given up to dst.
func (c *Client) TakeProduced(dst []Item) []Item {
	p := c.producer
	p.mu.Lock()
	defer p.mu.Unlock()
	dst = append(dst, p.done...)
	clear(p.done)
	p.done = p.done[:0]
	return dst
}

// Flush waits until all that was queued is answered.
func (c *Client) Flush(ctx context.Context) error { return c.producer.flush(ctx) }

// SetProduceBytesMax changes what Config.ProduceBytesMax has set.
func (c *Client) SetProduceBytesMax(bytesMax int) {
	c.producer.mu.Lock()
	defer c.producer.mu.Unlock()
	c.producer.bytesMax = bytesMax
	c.producer.changed.Broadcast()
}

// BufferedBytes returns the size of what is queued or under way.
func (c *Client) BufferedBytes() int {
	c.producer.mu.Lock()
	defer c.producer.mu.Unlock()
	return c.producer.bytes
}

func (p *producer) enqueue(ctx context.Context, items []Item) error {
	size := 0
	for i := range items {
		size += items[i].Builder.Size()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.await(ctx, func() bool { return p.bytes == 0 || p.bytes+size <= p.bytesMax }); err != nil {
		return err
	}
	for _, it := range items {
		it.Next, it.Err = -1, nil
		q := p.partitions[it.TopicPartition]
		if q == nil {
			q = &producePartition{TopicPartition: it.TopicPartition}
			p.partitions[it.TopicPartition] = q
		}
		if len(q.items) == 0 {
			p.waiting = append(p.waiting, q)
		}
		q.items = append(q.items, it)
	}
	p.bytes += size
	p.items += len(items)
	p.changed.Broadcast()
	return nil
}

func (p *producer) flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.await(ctx, func() bool { return p.items == 0 })
}

// await waits for a condition, the producer's failure or the end of ctx. It needs the mutex.
func (p *producer) await(ctx context.Context, cond func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	defer stop()
	for waits := false; ; p.changed.Wait() {
		switch {
		case p.closed:
			return ErrClosed
		case p.err != nil:
			return p.err
		case cond():
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("kclient: produce: %w", context.Cause(ctx))
		}
		if !waits {
			waits = true
			p.urgent++
			defer func() { p.urgent-- }()
			p.changed.Broadcast()
		}
	}
}

// run sends rounds until the producer is closed.
func (p *producer) run() {
	for {
		p.mu.Lock()
		for !p.closed && (p.err != nil || p.hold || !p.worthARound()) {
			p.changed.Wait()
		}
		if p.closed {
			p.mu.Unlock()
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		p.sending, p.giveUp, p.interrupt = true, false, cancel
		round := p.takeRound()
		p.mu.Unlock()
		err := p.seal(round)
		if err == nil {
			err = p.sendRound(ctx, round)
		}
		cancel()
		p.mu.Lock()
		p.endRound(round, err)
		p.mu.Unlock()
	}
}

// worthARound tells whether what waits should be sent now. It needs the mutex.
func (p *producer) worthARound() bool {
	return len(p.waiting) > 0 && (p.bytes >= p.linger || p.urgent > 0)
}

// takeRound picks the first batches of each partition, up to the request's limit. It needs the mutex.
func (p *producer) takeRound() []*produceTry {
	var round []*produceTry
	size := 0
	p.begun = true
	for _, q := range p.waiting {
		sequence := q.sequence
		for _, it := range q.items[:min(len(q.items), p.roundBatches)] {
			if len(round) > 0 && size+it.Builder.Size() > p.requestBytesMax {
				return round
			}
			size += it.Builder.Size()
			round = append(round, &produceTry{
				producePartition: q, TopicPartition: q.TopicPartition, builder: it.Builder, sequence: sequence,
			})
			sequence = batch.AddSequence(sequence, int32(it.Builder.Len()))
		}
	}
	return round
}

// seal stamps the batches. The identity does not change while a round is under way.
func (p *producer) seal(round []*produceTry) error {
	for _, t := range round {
		var err error
		t.raw, err = t.builder.Finish(batch.Producer{
			ID: p.id, Epoch: p.epoch, Sequence: t.sequence, Transactional: p.transactionalID != "",
		})
		if err != nil {
			return &Error{Fatal, fmt.Errorf("kclient: produce to %s: %w", t.TopicPartition, err)}
		}
	}
	return nil
}

// endRound settles what was answered, and notes why the rest was not. It needs the mutex.
func (p *producer) endRound(round []*produceTry, err error) {
	p.sending, p.interrupt = false, nil
	turned, blocked := 0, (*producePartition)(nil)
	for i, t := range round {
		q := t.producePartition
		if i == 0 || round[i-1].producePartition != q {
			turned++
		}
		if !t.acked {
			blocked = q // what follows it stays queued behind it, answered or not: the round has failed
		}
		if q == blocked {
			continue
		}
		it := q.items[0]
		it.Next = t.next
		q.sequence = batch.AddSequence(q.sequence, int32(t.builder.Len()))
		p.settle(it)
		q.items[0] = Item{}
		q.items = q.items[1:]
	}
	if p.err == nil && err != nil && !p.giveUp {
		p.err = err
	}
	// Partitions that have had a turn go behind those that have not.
	turned = min(turned, len(p.waiting))
	behind := append([]*producePartition(nil), p.waiting[:turned]...)
	p.waiting = append(p.waiting[:0], p.waiting[turned:]...)
	for _, q := range behind {
		if len(q.items) > 0 {
			p.waiting = append(p.waiting, q)
		} else {
			q.items = nil
		}
	}
	p.changed.Broadcast()
}

// settle moves an item to those that are done. It needs the mutex.
func (p *producer) settle(it Item) {
	p.bytes -= it.Builder.Size()
	p.items--
	p.done = append(p.done, it)
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

// discard waits for the end of the round under way, cutting it short, and gives back everything that is queued. No
// further round begins until hold is released. It needs the mutex.
func (p *producer) discard() {
	p.hold = true
	for p.sending {
		p.stopRound()
		p.changed.Wait()
	}
	for _, q := range p.waiting {
		for _, it := range q.items {
			it.Next, it.Err = -1, ErrDiscarded
			p.settle(it)
		}
		q.items = nil
	}
	p.waiting = nil
}

// ProduceError says which partition does not take what was produced.
type ProduceError struct {
	TopicPartition
	Err error
}

func (e *ProduceError) Error() string {
	return fmt.Sprintf("kclient: produce to %s: %v%s", e.TopicPartition, e.Err, advice(e.Err))
}

// Unwrap returns what the broker has answered.
func (e *ProduceError) Unwrap() error { return e.Err }

// produceFailure wraps what a partition's answer says.
func produceFailure(tp TopicPartition, err error) error {
	err = &ProduceError{tp, err}
	if isUnknownTopic(err) {
		return &Error{Fatal, err}
	}
	return classified(err)
}
