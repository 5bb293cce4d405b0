package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"thalweg/internal/batch"
	"thalweg/internal/kclient"
	"thalweg/topology"
)

const (
	readBytesMax          = 8 << 20 // of one answer
	readParts             = 4       // in which a loop's memory is an answer
	readPartitionBytesMax = 1 << 20 // of one partition in it
	// groupLook is the time between two looks at what a group has committed.
	groupLook      = 100 * time.Millisecond
	groupCommits   = time.Second // between two commits
	groupRebalance = time.Minute // how long a member may take to give partitions back
)

// reading is one call of Read under way: by its own goroutine, the caller's.
type reading struct {
	client  *kclient.Client
	fetcher *kclient.Fetcher
	topic   string
	from    From
	log     *slog.Logger
	closed  <-chan struct{}
	visit   visitor

	ends      map[kclient.TopicPartition]int64 // where reading ends, of all partitions; nil: it follows
	positions map[kclient.TopicPartition]*position
	decoder   batch.Decoder
	record    topology.SourceRecord

	// With a group:
	member   bool // an assignment has come
	moved    bool // something was read or assigned since the last look at what is committed
	commitAt time.Time
}

// visitor shows the loop a record, or the place of what cannot be read and why. It returns false when the loop is left.
type visitor func(at *topology.SourceRecord, damage *DamageError) bool

// position is how far a partition is read.
type position struct {
	next      int64 // after what the loop is done with
	given     int64 // after what it was given
	committed int64 // in the group; -1: nothing is
}

// errLeft ends reading because the loop was left.
var errLeft = errors.New("left")

func (c *connection) read(ctx context.Context, topic string, from From, visit visitor) error {
	err := from.check()
	if err == nil {
		err = c.readTopic(ctx, topic, from, visit)
	}
	if err == nil || errors.Is(err, errLeft) {
		return nil
	}
	if d, ok := errors.AsType[*DamageError](err); ok { // which names the topic
		return fmt.Errorf("runtime: read %w", d)
	}
	return fmt.Errorf("runtime: read topic %s: %w", topic, c.reason(err))
}

func (c *connection) readTopic(ctx context.Context, topic string, from From, visit visitor) error {
	l, err := c.opened(ctx)
	if err != nil {
		return err
	}
	r := &reading{
		client: l, topic: topic, from: from, log: c.cfg.Logger.With("topic", topic), closed: c.closed, visit: visit,
		positions: map[kclient.TopicPartition]*position{}, commitAt: time.Now().Add(groupCommits),
	}
	tps, err := r.partitions(ctx)
	if err != nil {
		return err
	}
	if !from.follow {
		if r.ends, err = l.ListOffsets(ctx, tps, kclient.Latest, true); err != nil {
			return err
		}
	}
	if from.group != "" {
		return r.runMember(ctx, c)
	}
	bytes, done := c.readBytes()
	defer done()
	r.fetcher, err = l.OpenFetcher(kclient.FetcherConfig{BytesMax: bytes, PartitionBytesMax: readPartitionBytesMax})
	if err != nil {
		return err
	}
	defer r.fetcher.Close()
	starts, err := r.starts(ctx, tps)
	if err != nil {
		return err
	}
	for _, tp := range tps {
		r.begin(tp, position{next: starts[tp], committed: -1})
	}
	return r.run(ctx)
}

// readBytes is how large an answer may be of a loop that begins now, and done when it has ended.
func (c *connection) readBytes() (bytes int, done func()) {
	c.memory.Divide(1)
	bytes = int(min(max(c.memory.PartBytesMax()/readParts, answerLeast), readBytesMax))
	held := int64(answersMost * bytes)
	c.memory.Use(held)
	return bytes, func() {
		c.memory.Use(-held)
		c.memory.Divide(-1)
	}
}

// offsets are where a reading begins.
func (c *connection) offsets(ctx context.Context, topic string, from From) (map[int32]int64, error) {
	offsets := map[int32]int64{}
	err := from.check()
	if err == nil {
		err = c.begins(ctx, topic, from, offsets)
	}
	if err != nil {
		return nil, fmt.Errorf("runtime: offsets of topic %s: %w", topic, c.reason(err))
	}
	return offsets, nil
}

func (c *connection) begins(ctx context.Context, topic string, from From, offsets map[int32]int64) error {
	l, err := c.opened(ctx)
	if err != nil {
		return err
	}
	r := &reading{client: l, topic: topic, from: from}
	tps, err := r.partitions(ctx)
	if err != nil {
		return err
	}
	starts, err := r.starts(ctx, tps)
	if err != nil {
		return err
	}
	for tp, start := range starts {
		offsets[tp.Partition] = start
	}
	if from.group == "" {
		return nil
	}
	committed, err := l.Admin().FetchOffsets(ctx, from.group)
	if err != nil {
		return fmt.Errorf("group %s: %w", from.group, err)
	}
	for p := range offsets {
		if o, ok := committed.Lookup(topic, p); ok && o.Err == nil && o.At >= 0 {
			offsets[p] = o.At
		}
	}
	return nil
}

// partitions are those of the topic, or those that From names.
func (r *reading) partitions(ctx context.Context) ([]kclient.TopicPartition, error) {
	n, err := r.client.Partitions(ctx, r.topic)
	if err != nil {
		return nil, err
	}
	var tps []kclient.TopicPartition
	for p := range n {
		if len(r.from.partitions) == 0 || slices.Contains(r.from.partitions, p) {
			tps = append(tps, kclient.TopicPartition{Topic: r.topic, Partition: p})
		}
	}
	for _, p := range r.from.partitions {
		if p < 0 || p >= n {
			return nil, fmt.Errorf("partition %d: there are %d, from 0", p, n)
		}
	}
	return tps, nil
}

// starts are the offsets at which From begins.
func (r *reading) starts(ctx context.Context, tps []kclient.TopicPartition) (map[kclient.TopicPartition]int64, error) {
	if len(tps) == 0 {
		return nil, nil
	}
	switch r.from.start {
	case fromLatest:
		return r.client.ListOffsets(ctx, tps, kclient.Latest, true)
	case fromTime:
		return r.client.ListOffsets(ctx, tps, r.from.at, true)
	case fromOffset:
		starts := map[kclient.TopicPartition]int64{}
		for _, tp := range tps {
			starts[tp] = r.from.at
		}
		return starts, nil
	default:
		return r.client.ListOffsets(ctx, tps, kclient.Earliest, false)
	}
}

// begin reads a partition, unless there is nothing to be read.
func (r *reading) begin(tp kclient.TopicPartition, p position) {
	r.positions[tp], r.moved = &p, true
	if p.next < r.end(tp) {
		r.fetcher.Set(tp, p.next)
	}
}

func (r *reading) end(tp kclient.TopicPartition) int64 {
	if r.ends == nil {
		return math.MaxInt64
	}
	return r.ends[tp]
}

// atEnd tells whether all that this call reads is read.
func (r *reading) atEnd() bool {
	if r.ends == nil {
		return false
	}
	for tp, p := range r.positions {
		if p.next < r.ends[tp] {
			return false
		}
	}
	return true
}

// run reads without a group.
func (r *reading) run(ctx context.Context) error {
	for !r.atEnd() {
		select {
		case fetched := <-r.fetcher.Fetched():
			if err := r.take(ctx, fetched); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.closed:
			return errClientClosed
		}
	}
	return nil
}

// take shows what was fetched to the loop.
func (r *reading) take(ctx context.Context, fetched []kclient.Fetched) error {
	for i := range fetched {
		f := &fetched[i]
		p := r.positions[f.TopicPartition]
		if p == nil || f.Stale() {
			continue
		}
		if out, ok := errors.AsType[*kclient.OutOfRangeError](f.Err); ok {
			if err := r.startOver(ctx, out); err != nil {
				return err
			}
			continue
		}
		if kclient.IsDamage(f.Err) {
			return &DamageError{Topic: f.Topic, Partition: f.Partition, Offset: f.From, Next: -1, Err: f.Err}
		}
		if f.Err != nil {
			return f.Err
		}
		for _, b := range f.Batches {
			if err := r.takeBatch(ctx, f, p, b); err != nil {
				return err
			}
		}
		if f.Stale() {
			continue
		}
		// Up to Next there may be markers of transactions, aborted records and what was compacted away.
		end := r.end(f.TopicPartition)
		if p.next = max(p.next, min(f.Next, end)); p.next >= end {
			r.fetcher.Unset(f.TopicPartition)
		}
		r.moved = true
	}
	return nil
}

func (r *reading) takeBatch(ctx context.Context, f *kclient.Fetched, p *position, b batch.Batch) error {
	end := r.end(f.TopicPartition)
	if b.IsControl() || b.LastOffset() < p.next || b.BaseOffset() >= end {
		return nil
	}
	it, err := b.Records(&r.decoder)
	if err != nil {
		return r.passOver(ctx, f, p, b, err)
	}
	in := &r.record
	in.Topic, in.Partition = f.Topic, f.Partition
	for it.Next(&in.Record) {
		if in.Offset < p.next {
			continue
		}
		if in.Offset >= end || f.Stale() {
			return nil
		}
		if err := r.give(ctx, p, in, in.Offset+1, nil); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return r.passOver(ctx, f, p, b, err)
	}
	return nil
}

// give shows the loop what lies before next, and is past it when the loop asks for more.
func (r *reading) give(
	ctx context.Context, p *position, at *topology.SourceRecord, next int64, damage *DamageError,
) error {
	p.given = next
	if !r.visit(at, damage) {
		return errLeft
	}
	p.next = next
	return r.between(ctx)
}

// passOver shows the loop that the rest of a batch cannot be read. Asking for more, the loop goes on behind it.
func (r *reading) passOver(ctx context.Context, f *kclient.Fetched, p *position, b batch.Batch, cause error) error {
	d := &DamageError{
		Topic: f.Topic, Partition: f.Partition, Offset: max(p.next, b.BaseOffset()), Next: b.LastOffset() + 1, Err: cause,
	}
	if d.Offset >= d.Next || d.Offset >= r.end(f.TopicPartition) || f.Stale() {
		return nil
	}
	r.record = topology.SourceRecord{Topic: d.Topic, Partition: d.Partition}
	r.record.Offset = d.Offset
	return r.give(ctx, p, &r.record, d.Next, d)
}

// between looks at what else may have happened, after each record: bodies may be slow.
func (r *reading) between(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-r.closed:
		return errClientClosed
	default:
	}
	if r.from.group == "" {
		return nil
	}
	select {
	case e := <-r.client.Events():
		return r.handle(ctx, e)
	default:
		return r.commitDue(ctx)
	}
}

// startOver begins again in a partition that does not hold the offset that was asked for.
func (r *reading) startOver(ctx context.Context, out *kclient.OutOfRangeError) error {
	if r.from.start == fromOffset {
		return out
	}
	starts, err := r.starts(ctx, []kclient.TopicPartition{out.TopicPartition})
	if err != nil {
		return err
	}
	next := starts[out.TopicPartition]
	if out.Offset < out.LogStart { // records that were not read yet are gone
		next = out.LogStart
	}
	r.log.Warn("the partition does not hold what is to be read next: going on elsewhere", "partition", out.Partition,
		"offset", out.Offset, "from", out.LogStart, "to", out.EndAfter-1, "next", next)
	p := r.positions[out.TopicPartition]
	p.next = next
	r.begin(out.TopicPartition, *p)
	return nil
}
