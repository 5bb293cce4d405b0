package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker/internal/log"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
	"thalweg/internal/memory"
)

func (b *broker) Fetch(ctx context.Context, req direct.FetchRequest) ([]direct.FetchResult, error) {
	f := fetch{
		b: b, iso: log.Isolation(req.Isolation), minBytes: req.MinBytes, maxBytes: req.MaxBytes, maxWait: req.MaxWait,
		parts: make([]fetchPart, len(req.Partitions)), results: make([]direct.FetchResult, len(req.Partitions)),
	}
	set := b.topics.load()
	for i, p := range req.Partitions {
		target, err := set.partitionOf(&p)
		f.parts[i] = fetchPart{target: target, err: err, offset: p.Offset, maxBytes: p.MaxBytes}
		f.results[i].Topic, f.results[i].Partition = p.Topic, p.Partition
	}
	if err := f.run(ctx); err != nil {
		return nil, err
	}
	bytes := 0
	for i := range f.results {
		f.results[i].Passed = f.parts[i].passed
		for _, run := range f.results[i].Batches {
			bytes += len(run)
		}
	}
	b.counters.bytesOut.Add(int64(bytes))
	return f.results, b.closedOr(ctx)
}

// fetch is one request on its way.
type fetch struct {
	b                  *broker
	iso                log.Isolation
	minBytes, maxBytes int
	maxWait            time.Duration
	parts              []fetchPart
	results            []direct.FetchResult
	session            *fetchSession // nil: parts are all that there is
	memory             *memory.Gate  // of the answers on connections; nil: the caller counts them
	held               int64         // of it
}

type fetchPart struct {
	key      partitionKey // of a request
	epoch    int32        // that the client knows
	member   *sessionPart // of the fetch's session
	target   *partition
	err      *kerr.Error // instead of a target
	offset   int64
	maxBytes int
	meter    log.Meter
	bound    int64 // up to which is counted
	counted  int   // bytes
	passed   bool  // over, since the answer was full before
}

// run reads, and when that is not enough, waits until there is more or time is up, and reads again. Meanwhile it counts
// what it could read, and holds nothing of it: otherwise a large MinBytes would read everything again at each append.
func (f *fetch) run(ctx context.Context) error {
	if f.maxBytes <= 0 || f.maxBytes > f.b.cfg.MaxFetchBytes {
		f.maxBytes = f.b.cfg.MaxFetchBytes
	}
	if f.memory != nil {
		f.maxBytes = int(min(int64(f.maxBytes), max(f.memory.BytesMax()/answersAtLeast, smallFrameBytes)))
	}
	f.waitMarkers(ctx)
	var joining <-chan struct{}
	if f.session != nil {
		joining = f.session.wake
	}
	bytes, failed, err := f.readHeld(ctx)
	if bytes >= f.minBytes || failed || f.maxWait <= 0 || err != nil {
		return err
	}
	timeUp := make(chan struct{})
	stop := f.b.cfg.Clock.AfterFunc(f.maxWait, func() { close(timeUp) })
	defer stop()
	watch := log.NewWatch()
	defer f.unwatch(watch)
	f.forget()
	for !f.enough() {
		if f.watch(watch) {
			continue
		}
		select {
		case <-watch.C():
		case <-joining:
			f.join()
			f.waitMarkers(ctx)
		case <-timeUp:
			_, _, err := f.readHeld(ctx)
			return err
		case <-ctx.Done():
			return nil
		case <-f.b.stop:
			return nil
		}
	}
	_, _, err = f.readHeld(ctx)
	return err
}

// answersAtLeast is how many answers to fetches have memory at the same time, unless their first batches are larger
// than what they ask for.
const answersAtLeast = 4

// readHeld waits for the answer's memory, and reads. Small answers give the memory back at once.
func (f *fetch) readHeld(ctx context.Context) (bytes int, failed bool, err error) {
	if f.memory == nil || !f.some() {
		bytes, failed = f.read()
		return bytes, failed, nil
	}
	if err := f.memory.Enter(ctx, int64(f.maxBytes)); err != nil {
		return 0, false, err
	}
	bytes, failed = f.read()
	if bytes > smallFrameBytes {
		f.held = int64(bytes)
	}
	f.memory.Adjust(f.held - int64(f.maxBytes))
	return bytes, failed, nil
}

// some tells whether there is anything to read.
func (f *fetch) some() bool {
	for i := range f.parts {
		part := &f.parts[i]
		if part.target == nil {
			continue
		}
		l := part.target.log
		r := direct.FetchResult{HighWatermark: l.HighWatermark(), LastStableOffset: l.LastStable()}
		if f.beyond(&r) > part.offset {
			return true
		}
	}
	return false
}

// waitMarkers lets a read of committed records see all transactions whose end was answered before it.
func (f *fetch) waitMarkers(ctx context.Context) {
	if f.iso != log.ReadCommitted {
		return
	}
	for i := range f.parts {
		if target := f.parts[i].target; target != nil {
			target.log.WaitMarkers(ctx)
		}
	}
}

// forget drops what was read.
func (f *fetch) forget() {
	if f.held > 0 {
		f.memory.Leave(f.held)
		f.held = 0
	}
	for i := range f.results {
		f.results[i].Batches, f.results[i].Aborted = nil, nil
		f.parts[i].bound = -1
	}
}

// enough tells whether there is as much to read as the request asks for, or no use in waiting.
func (f *fetch) enough() bool {
	bytes := 0
	for i := range f.parts {
		part, r := &f.parts[i], &f.results[i]
		if part.target == nil {
			return true
		}
		l := part.target.log
		r.LastStableOffset, r.HighWatermark, r.LogStartOffset = l.LastStable(), l.HighWatermark(), l.Start()
		if r.LogStartOffset > part.offset {
			return true // it is out of range
		}
		bound := f.beyond(r)
		if f.minBytes <= batch.HeaderBytes && bound > part.offset {
			return true // whatever it is
		}
		if bound != part.bound || l.Err() != nil {
			var done bool
			limit := f.maxBytes
			if part.maxBytes > 0 {
				limit = min(limit, part.maxBytes)
			}
			if part.counted, done = l.Measure(&part.meter, part.offset, limit, f.iso); done {
				return true
			}
			part.bound = bound
		}
		bytes += part.counted
	}
	return bytes >= f.minBytes || bytes >= f.maxBytes
}

// beyond is the offset below which the result of a partition has all batches.
func (f *fetch) beyond(r *direct.FetchResult) int64 {
	if f.iso == log.ReadCommitted {
		return r.LastStableOffset
	}
	return r.HighWatermark
}

// watch asks to be woken when any partition has more than was read, or begins later; it is true when one has already.
func (f *fetch) watch(w *log.Watch) (ready bool) {
	for i := range f.parts {
		r := &f.results[i]
		beyond := max(f.beyond(r), f.parts[i].offset)
		ready = f.parts[i].target.log.Watch(w, r.LogStartOffset, beyond, f.iso) || ready
	}
	return ready
}

func (f *fetch) unwatch(w *log.Watch) {
	for i := range f.parts {
		if target := f.parts[i].target; target != nil {
			target.log.Unwatch(w)
		}
	}
}

// read reads every partition once.
func (f *fetch) read() (bytes int, failed bool) {
	left := f.maxBytes
	for i := range f.parts {
		r := &f.results[i]
		n := f.readPart(&f.parts[i], r, left, bytes == 0)
		bytes += n
		left -= n
		failed = failed || r.Err != nil
	}
	return bytes, failed
}

func (f *fetch) readPart(part *fetchPart, r *direct.FetchResult, left int, first bool) int {
	f.b.counters.fetched.Add(1)
	r.Batches, r.Aborted, r.Err, r.AfterDamage = nil, nil, nil, 0
	if part.target == nil {
		r.HighWatermark, r.LastStableOffset, r.LogStartOffset = -1, -1, -1
		r.Err = part.err
		return 0
	}
	limit := min(part.maxBytes, left)
	if part.maxBytes <= 0 {
		limit = left
	}
	part.passed = left <= 0 && !first
	if part.passed { // what is there is for the next request
		l := part.target.log
		r.HighWatermark, r.LastStableOffset, r.LogStartOffset = l.HighWatermark(), l.LastStable(), l.Start()
		return 0
	}
	res, err := part.target.log.Read(part.offset, limit, f.iso)
	r.HighWatermark, r.LastStableOffset, r.LogStartOffset = res.HighWatermark, res.LastStable, res.LogStart
	if err != nil {
		r.Err = f.b.readError(part.target, err)
		if damage, ok := errors.AsType[*log.DamageError](r.Err); ok {
			r.AfterDamage = damage.Next
		}
		return 0
	}
	r.Batches = res.Batches
	if f.iso == log.ReadCommitted {
		r.Aborted = make([]direct.AbortedTxn, len(res.Aborted))
		for i, a := range res.Aborted {
			r.Aborted[i] = direct.AbortedTxn{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset}
		}
	}
	return res.Bytes
}

// readError keeps an error of the protocol and makes one of any other.
func (b *broker) readError(p *partition, err error) error {
	if now, gone := b.topics.load().partition(p.topic, p.index); gone != nil || now != p {
		return kerr.UnknownTopicOrPartition // deleted while it was read
	}
	var known *kerr.Error
	if errors.As(err, &known) && known != kerr.KafkaStorageError && known != kerr.CorruptMessage {
		return err
	}
	err = b.advised(p, err)
	b.cfg.Logger.Error("broker: read", "topic", p.topic, "partition", p.index, "err", err)
	if known != nil {
		return err
	}
	return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
}
