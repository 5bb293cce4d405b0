package runtime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"sync/atomic"
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
		kgo.ProducerBatchMaxBytes(int32(min(c.cfg.Limits.RecordBytesMax+batchOverheadBytes, math.MaxInt32))),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(sendBytesMax / recordOverheadBytes), // the room is less
	}
}

// sending is one call under way.
type sending struct {
	c            *connection
	topic        string
	client       *kgo.Client
	partitions   int32 // of the topic; 0: not needed so far
	slab         []sent
	pending      sync.WaitGroup
	acknowledged chan struct{}      // closed when nothing is pending any more
	givenUp      chan struct{}      // closed when the broker has been silent for too long
	stop         context.CancelFunc // takes no more records

	room            int64 // of the client's, taken and not used yet
	done            atomic.Int64
	taken, finished atomic.Int64 // records that the producer has, and those of them that it is done with

	mu    sync.Mutex
	err   error
	errAt int64             // the place of the record in the call
	first topology.Metadata // where the first record lies
}

// sent is a record on its way, and its context, which is how its promise finds it. They are made in slabs.
type sent struct {
	endless
	record  kgo.Record
	s       *sending
	n, size int64
}

// endless is a context that never ends. The call's own would take records of other calls along that are in the same
// batch.
type endless struct{}

func (endless) Deadline() (at time.Time, ok bool) { return at, false }
func (endless) Done() <-chan struct{}             { return nil }
func (endless) Err() error                        { return nil }
func (endless) Value(any) any                     { return nil }

// send writes records until one fails, and waits until all are acknowledged. It returns where the first of them lies.
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
		c: c, topic: topic, client: client, stop: stop, errAt: math.MaxInt64,
		acknowledged: make(chan struct{}), givenUp: make(chan struct{}),
	}
	go s.watch()
	s.pending.Add(1) // the loop
	cut := !s.take(taking, records)
	s.pending.Done()
	go func() {
		s.pending.Wait()
		close(s.acknowledged)
		c.room.Leave(s.done.Load() + s.room)
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
	case cut || s.finished.Load() < s.taken.Load():
		return topology.Metadata{}, fmt.Errorf("runtime: send to topic %s: what was sent may have been written: %w", topic,
			context.Cause(ctx))
	}
	return s.first, nil
}

// take gives the records to the producer, and tells whether it came to their end or to an error.
func (s *sending) take(ctx context.Context, records iter.Seq2[outgoing, error]) bool {
	n := int64(0)
	for r, err := range records {
		if err == nil {
			err = s.add(ctx, n, &r)
		}
		if errors.Is(err, errNoRoom) {
			return false
		}
		if err != nil {
			s.fail(n, -1, err)
			return true
		}
		n++
	}
	return true
}

// errNoRoom says that the context ended while a record waited for room.
var errNoRoom = errors.New("no room")

// add gives a record to the producer when there is room for it.
func (s *sending) add(ctx context.Context, n int64, r *outgoing) error {
	bytes := len(r.key) + len(r.value)
	for _, h := range r.headers {
		bytes += len(h.Key) + len(h.Value)
	}
	if most := s.c.cfg.Limits.RecordBytesMax; bytes > most {
		return fmt.Errorf("%w: it has %d bytes, Config.Limits.RecordBytesMax allows %d", kerr.MessageTooLarge, bytes, most)
	}
	size := min(int64(recordOverheadBytes+bytes), sendBytesMax)
	partition, err := s.choose(ctx, r)
	if err != nil {
		return err
	}
	if err := s.reserve(ctx, n, size); err != nil {
		return err
	}
	if len(s.slab) == 0 {
		s.slab = make([]sent, min(n+1, slabRecords))
	}
	out := &s.slab[0]
	s.slab = s.slab[1:]
	*out = sent{s: s, n: n, size: size}
	out.record = kgo.Record{
		Context: out, Topic: s.topic, Partition: partition, Key: r.key, Value: r.value,
	}
	if r.millis != 0 {
		out.record.Timestamp = time.UnixMilli(r.millis)
	}
	for _, h := range r.headers {
		out.record.Headers = append(out.record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	s.pending.Add(1)
	s.taken.Add(1)
	s.client.Produce(context.Background(), &out.record, promise)
	return nil
}

const (
	// slabRecords is how many records are made at a time in a call with many.
	slabRecords = 64
	// lumpBytes is how much room such a call takes and gives back at a time.
	lumpBytes = 32 << 10
)

// reserve waits for room.
func (s *sending) reserve(ctx context.Context, n, size int64) error {
	if s.room < size {
		s.c.room.Leave(s.room) // no call waits for memory while it holds some
		s.room = 0
		lump := size
		if n >= slabRecords {
			lump = max(size, s.c.lump)
		}
		if s.c.room.Enter(ctx, lump) != nil {
			return errNoRoom
		}
		s.room = lump
	} else if ctx.Err() != nil {
		return errNoRoom
	}
	s.room -= size
	return nil
}

// choose returns the partition of a record whose key does not say it, or -1.
func (s *sending) choose(ctx context.Context, r *outgoing) (p int32, err error) {
	if r.hash == nil && r.choose == nil {
		return -1, nil
	}
	if s.partitions == 0 {
		if s.partitions, err = s.c.partitions(ctx, s.client, s.topic); err != nil {
			return -1, s.c.explain(err)
		}
	}
	if r.choose == nil {
		return topology.PartitionFor(r.hash, s.partitions), nil
	}
	if p = r.choose(s.partitions); p < 0 || p >= s.partitions {
		return -1, fmt.Errorf("the topic's Partition function chose partition %d of %d", p, s.partitions)
	}
	return p, nil
}

// promise is called when a record is acknowledged or given up.
func promise(r *kgo.Record, err error) {
	out := r.Context.(*sent)
	s := out.s
	switch {
	case err != nil:
		s.fail(out.n, r.Partition, s.c.explain(err))
	case out.n == 0:
		s.mu.Lock()
		s.first = topology.Metadata{Topic: s.topic, Partition: r.Partition, Offset: r.Offset}
		s.mu.Unlock()
	}
	done := s.done.Add(out.size)
	if s.finished.Add(1) == s.taken.Load() || done >= s.c.lump {
		s.c.room.Leave(s.done.Swap(0))
	}
	s.pending.Done()
}

// fail notes an error, if it is of the first record that failed.
func (s *sending) fail(n int64, partition int32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
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

// watchLooks is how often watch looks within the time after which it gives up.
const watchLooks = 4

// watch gives up when records were on their way for Config.RetryTimeout and none was acknowledged.
func (s *sending) watch() {
	timeout := s.c.cfg.RetryTimeout
	ticker := time.NewTicker(max(timeout/watchLooks, time.Millisecond))
	defer ticker.Stop()
	silent, waiting, finished := 0, false, int64(0)
	for silent < watchLooks {
		select {
		case <-s.acknowledged:
			return
		case <-ticker.C:
		}
		now := s.finished.Load()
		if silent++; !waiting || now != finished {
			silent = 0
		}
		finished, waiting = now, s.taken.Load() > now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = ofKind(ErrUnreachable, fmt.Errorf("runtime: send to topic %s: no acknowledgment within "+
			"Config.RetryTimeout, %v: is the broker running? What was sent may still be written", s.topic, timeout))
	}
	s.stop()
	close(s.givenUp)
}

// explain adds to an error what to do about it.
func (c *connection) explain(err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: make the topic with Client.Create or thalweg topics create, or check its name", c.reason(err))
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: raise the topic's max.message.bytes, or lower Config.Limits.RecordBytesMax", err)
	}
	return c.reason(err)
}
