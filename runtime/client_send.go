package runtime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/topology"
)

const (
	// sendBytesMax is how much of a client may be on its way; recordOverheadBytes is what a record counts beside its
	// bytes.
	sendBytesMax        = 64 << 20
	recordOverheadBytes = 128
	// batchOverheadBytes is the most that a batch of one record has beside the record's key, value and headers.
	batchOverheadBytes = 512
)

// producerOptions make franz-go's producer idempotent, with acknowledgment by all replicas, which is its default. There
// is no linger: while requests are under way, what comes meanwhile goes into the next one. There is no timeout of its,
// which would go by the records' timestamps: see watch.
func (c *connection) producerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RecordPartitioner(choosing{kgo.StickyKeyPartitioner(nil)}),
		kgo.ProducerBatchCompression(c.cfg.Compression.franz()),
		kgo.ProducerBatchMaxBytes(int32(min(c.cfg.RecordBytesMax+batchOverheadBytes, math.MaxInt32))),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(sendBytesMax / recordOverheadBytes), // the room is less
	}
}

// sending is one call under way.
type sending struct {
	c            *connection
	topic        string
	pending      sync.WaitGroup
	acknowledged chan struct{}      // closed when nothing is pending any more
	givenUp      chan struct{}      // closed when the broker has been silent for too long
	stop         context.CancelFunc // takes no more records

	mu       sync.Mutex
	err      error
	errAt    int64 // the place of the record in the call
	taken    int64
	finished int64     // records that were acknowledged or have failed
	silent   time.Time // since when none has, while there are others
	last     topology.Metadata
}

// send writes records until one fails, and waits until all are acknowledged. It returns where the last of them lies.
func (c *connection) send(
	ctx context.Context, topic string, records iter.Seq2[outgoing, error],
) (topology.Metadata, error) {
	client, err := c.produce()
	if err != nil {
		return topology.Metadata{}, fmt.Errorf("runtime: send to topic %s: %w", topic, err)
	}
	taking, stop := context.WithCancel(ctx)
	defer stop()
	s := &sending{
		c: c, topic: topic, stop: stop, errAt: math.MaxInt64,
		acknowledged: make(chan struct{}), givenUp: make(chan struct{}),
	}
	go s.watch()
	s.pending.Add(1) // the loop
	n, cut := int64(0), false
	for r, err := range records {
		if err != nil {
			s.fail(n, -1, err)
			break
		}
		if cut = !s.add(taking, client, n, r); cut {
			break
		}
		n++
	}
	s.pending.Done()
	go func() {
		s.pending.Wait()
		close(s.acknowledged)
	}()
	select {
	case <-s.acknowledged:
	case <-s.givenUp:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return topology.Metadata{}, s.err
	case cut || s.finished < n:
		return topology.Metadata{}, fmt.Errorf("runtime: send to topic %s: what was sent may have been written: %w", topic,
			context.Cause(ctx))
	}
	return s.last, nil
}

// watch gives up when nothing was acknowledged for Config.RetryTimeout.
func (s *sending) watch() {
	timeout := s.c.cfg.RetryTimeout
	ticker := time.NewTicker(max(timeout/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-s.acknowledged:
			return
		case now := <-ticker.C:
			if s.tooSilent(now.Add(-timeout)) {
				return
			}
		}
	}
}

func (s *sending) tooSilent(since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == s.finished || s.silent.After(since) {
		return false
	}
	if s.err == nil {
		s.err = fmt.Errorf("runtime: send to topic %s: no acknowledgment within Config.RetryTimeout, %v: is the broker "+
			"running? What was sent may still be written", s.topic, s.c.cfg.RetryTimeout)
	}
	s.stop()
	close(s.givenUp)
	return true
}

// add gives a record to the producer when there is room for it.
func (s *sending) add(ctx context.Context, client *kgo.Client, n int64, r outgoing) bool {
	bytes := len(r.key) + len(r.value)
	for _, h := range r.headers {
		bytes += len(h.Key) + len(h.Value)
	}
	if most := s.c.cfg.RecordBytesMax; bytes > most {
		s.fail(n, -1, fmt.Errorf("%w: it has %d bytes, Config.RecordBytesMax allows %d", kerr.MessageTooLarge, bytes, most))
		return false
	}
	size := min(int64(recordOverheadBytes+bytes), sendBytesMax)
	if err := s.c.room.Acquire(ctx, size); err != nil {
		return false
	}
	out := &kgo.Record{Topic: s.topic, Partition: -1, Key: r.key, Value: r.value}
	if r.millis != 0 {
		out.Timestamp = time.UnixMilli(r.millis)
	}
	for _, h := range r.headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	// Not with ctx: one that ends would take records of other calls along that are in the same batch.
	own := context.Background()
	if r.hash != nil || r.choose != nil {
		own = context.WithValue(own, choiceKey{}, &choice{hash: r.hash, choose: r.choose})
	}
	s.take()
	client.Produce(own, out, func(out *kgo.Record, err error) {
		s.c.room.Release(size)
		if err != nil {
			s.fail(n, out.Partition, s.explain(out, err))
		} else {
			s.acknowledge(out)
		}
		s.pending.Done()
	})
	return true
}

func (s *sending) take() {
	s.pending.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == s.finished {
		s.silent = time.Now()
	}
	s.taken++
}

func (s *sending) acknowledge(r *kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished, s.silent = s.finished+1, time.Now()
	s.last = topology.Metadata{Topic: s.topic, Partition: r.Partition, Offset: r.Offset}
}

// fail notes an error, if it is of the first record that failed.
func (s *sending) fail(n int64, partition int32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	if n < s.taken { // not the one that could not be encoded
		s.finished, s.silent = s.finished+1, time.Now()
	}
	if n >= s.errAt {
		return
	}
	s.errAt = n
	where := ""
	if partition >= 0 {
		where = fmt.Sprintf(" partition %d", partition)
	}
	s.err = fmt.Errorf("runtime: send to topic %s%s: record %d: %w", s.topic, where, n, err)
}

// explain adds to an error what to do about it.
func (s *sending) explain(r *kgo.Record, err error) error {
	if c, ok := r.Context.Value(choiceKey{}).(*choice); ok && c.n > 0 && (c.picked < 0 || c.picked >= c.n) {
		return fmt.Errorf("the topic's Partition function chose partition %d of %d", c.picked, c.n)
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: make the topic with Client.Create or thalweg topics create, or check its name", err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: the batch has more than the topic's max.message.bytes: raise that, or lower "+
			"Config.RecordBytesMax (now %d)", err, s.c.cfg.RecordBytesMax)
	case errors.Is(err, kgo.ErrClientClosed):
		return errClientClosed
	}
	return err
}

// choice is how a record's partition is chosen where its key does not say it. Its result is kept, since franz-go may
// ask twice.
type choice struct {
	hash      []byte
	choose    func(n int32) int32
	n, picked int32
}

type choiceKey struct{}

func (c *choice) pick(n int32) int32 {
	if c.n != n {
		c.n = n
		if c.choose != nil {
			c.picked = c.choose(n)
		} else {
			c.picked = topology.PartitionFor(c.hash, n)
		}
	}
	return c.picked
}

// choosing partitions by the record's choice, where it has one, and otherwise as Kafka does.
type choosing struct{ byKey kgo.Partitioner }

func (c choosing) ForTopic(topic string) kgo.TopicPartitioner {
	return &choosingTopic{c.byKey.ForTopic(topic)}
}

type choosingTopic struct{ kgo.TopicPartitioner }

func choiceOf(r *kgo.Record) *choice {
	c, _ := r.Context.Value(choiceKey{}).(*choice)
	return c
}

// RequiresConsistency tells whether partitions that can't be written at the moment count.
func (t *choosingTopic) RequiresConsistency(r *kgo.Record) bool {
	return choiceOf(r) != nil || t.TopicPartitioner.RequiresConsistency(r)
}

// Partition chooses among n partitions.
func (t *choosingTopic) Partition(r *kgo.Record, n int) int {
	if c := choiceOf(r); c != nil {
		return int(c.pick(int32(n)))
	}
	return t.TopicPartitioner.Partition(r, n)
}

// OnNewBatch lets records without a key go to another partition when a batch is full.
func (t *choosingTopic) OnNewBatch() {
	if sticky, ok := t.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		sticky.OnNewBatch()
	}
}
