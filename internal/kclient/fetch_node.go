package kclient

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// pausedWait is how long an idle fetch waits while some partition is paused and may be resumed, on a transport
// whose fetches can't be cut short.
const pausedWait = 10 * time.Millisecond

// ask is one partition of a request under way.
type ask struct {
	*fetchPartition
	generation uint64
	offset     int64
}

// run fetches from one broker until the fetcher is closed.
func (f *Fetcher) run(ctx context.Context, n *fetchNode) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		f.hand(ctx, f.takeRecreated(n))
		fetchCtx, asks, req, retryIn := f.plan(ctx, n)
		if len(asks) == 0 {
			timer.Reset(retryIn)
			select {
			case <-n.wake:
			case <-timer.C:
			case <-ctx.Done():
			}
			continue
		}
		asked := time.Now()
		answers, err := f.transport.fetch(fetchCtx, n.id, req)
		interrupted := fetchCtx.Err() != nil
		f.endRequest(n)
		if err != nil {
			if !interrupted {
				f.failAll(ctx, asks, err)
			}
			continue
		}
		f.hand(ctx, f.apply(ctx, asked, asks, answers))
	}
}

// plan makes the next request. Without anything to ask for, retryIn says when to look again at the latest.
func (f *Fetcher) plan(parent context.Context, n *fetchNode) (
	ctx context.Context, asks []ask, req *fetchRequest, retryIn time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	retryIn = time.Hour
	wait := f.waitMax
	var later []*fetchPartition
	req = &fetchRequest{readCommitted: !f.cfg.ReadUncommitted, bytesMax: int32(f.cfg.BytesMax)}
	for _, p := range f.toAsk(n) {
		if p.leader.node != n.id || p.stopped || p.removed {
			continue
		}
		if p.paused {
			if !f.transport.interruptible() {
				wait = min(wait, pausedWait)
			}
			continue
		}
		if left := p.retryAt.Sub(now); left > 0 {
			retryIn = min(retryIn, left)
			wait = min(wait, left)
			if p.watch != nil {
				later = append(later, p)
			}
			continue
		}
		if p.watch != nil {
			wait = 0
		}
		p.waits = false
		asks = append(asks, ask{p, p.generation.Load(), p.offset})
		req.partitions = append(req.partitions, fetchTarget{
			TopicPartition: p.TopicPartition,
			topicID:        p.topicID,
			leaderEpoch:    p.leader.epoch,
			offset:         p.offset,
			bytesMax:       int32(min(f.cfg.PartitionBytesMax, f.cfg.BytesMax)),
		})
	}
	n.addLater(later)
	if len(asks) == 0 {
		return nil, nil, nil, retryIn
	}
	f.rotate()
	req.waitMillis = int32(wait.Milliseconds())
	ctx, n.interrupt = context.WithCancel(parent)
	n.asked = make(map[*fetchPartition]uint64, len(asks))
	for _, a := range asks {
		n.asked[a.fetchPartition] = a.generation
	}
	return ctx, asks, req, 0
}

// toAsk are the partitions that may have something. It needs the mutex.
func (f *Fetcher) toAsk(n *fetchNode) []*fetchPartition {
	if f.watches {
		return n.take()
	}
	return f.order
}

// addLater lists partitions again that wait for another try. The goroutine of the node knows when that is.
func (n *fetchNode) addLater(later []*fetchPartition) {
	n.listing.Lock()
	defer n.listing.Unlock()
	for _, p := range later {
		if !p.listed {
			p.listed = true
			n.list = append(n.list, p)
		}
	}
}

// takeRecreated stops the partitions of topics that are others than before, and returns what to hand over.
func (f *Fetcher) takeRecreated(n *fetchNode) (given []Fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.recreated {
		return nil
	}
	f.recreated = false
	for _, p := range f.order {
		if p.removed || p.stopped || p.was == (TopicID{}) {
			continue
		}
		if p.leader.node != n.id {
			f.recreated = true
			continue
		}
		p.stopped = true
		given = append(given, p.refuse(Recreated(p.TopicPartition, p.was, p.topicID)))
	}
	return given
}

// rotate moves the first partition to the end, in place.
func (f *Fetcher) rotate() {
	if n := len(f.order); n > 1 && !f.watches {
		first := f.order[0]
		copy(f.order, f.order[1:])
		f.order[n-1] = first
	}
}

func (f *Fetcher) endRequest(n *fetchNode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n.interrupt()
	n.interrupt, n.asked = nil, nil
}

// failAll notes that no answer came, and lets the leaders be looked up again.
func (f *Fetcher) failAll(ctx context.Context, asks []ask, err error) {
	var given []Fetched
	f.mu.Lock()
	now := time.Now()
	for _, a := range asks {
		f.metadata.forget(a.Topic)
		if a.removed || a.fetchPartition.generation.Load() != a.generation {
			continue
		}
		a.leader = leader{node: -1, epoch: -1}
		if e := f.failed(a.fetchPartition, err, now); e != nil {
			given = append(given, *e)
			continue
		}
		f.settle(a.fetchPartition)
	}
	f.mu.Unlock()
	f.hand(ctx, given)
}

// apply turns answers into what the worker sees and moves the positions.
func (f *Fetcher) apply(ctx context.Context, asked time.Time, asks []ask, answers []fetchAnswer) []Fetched {
	out := make([]Fetched, 0, len(asks))
	for i := range answers {
		a, answer := &asks[i], &answers[i]
		fetched := Fetched{
			TopicPartition: a.TopicPartition,
			From:           a.offset,
			Next:           a.offset,
			HighWatermark:  answer.highWatermark,
			LastStable:     answer.lastStable,
			LogStart:       answer.logStart,
			Asked:          asked,
			partition:      a.fetchPartition,
			generation:     a.generation,
		}
		err := answer.err
		if answer.afterDamage > a.offset {
			err = &corruptError{a.TopicPartition, a.offset, answer.afterDamage, answer.err}
		}
		if errors.Is(err, kerr.OffsetOutOfRange) {
			fetched.Err, err = f.outOfRange(ctx, a)
		} else if err == nil {
			err = f.unpack(&fetched, answer)
		}
		if f.advance(a, &fetched, err, answer.passed) {
			out = append(out, fetched)
		}
	}
	return out
}

// advance moves a partition on, or notes its failure, and tells whether there is something to hand over.
func (f *Fetcher) advance(a *ask, fetched *Fetched, err error, passed bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := a.fetchPartition
	if p.removed || p.generation.Load() != a.generation {
		return false
	}
	if err != nil {
		f.metadata.forget(p.Topic)
		p.leader = leader{node: -1, epoch: -1}
		gaveUp := f.failed(p, err, time.Now())
		if gaveUp == nil {
			f.settle(p)
			return false
		}
		if corrupt, ok := errors.AsType[*corruptError](err); ok && corrupt.next > p.offset {
			f.passOver(p, fetched, corrupt.next, gaveUp.Err)
			return true
		}
		*fetched = *gaveUp
		return true
	}
	p.pause, p.retryAt = nil, time.Time{}
	if fetched.Err != nil {
		p.stopped = true
		return true
	}
	p.offset = fetched.Next
	f.listOrWait(p, fetched, passed)
	return true
}

// listOrWait lets a partition be asked for again, or wait until it has more than was read, or begins later. It needs
// the mutex.
func (f *Fetcher) listOrWait(p *fetchPartition, fetched *Fetched, passed bool) {
	n := f.nodes[p.leader.node]
	if p.watch == nil || n == nil {
		return
	}
	end := fetched.LastStable
	if f.cfg.ReadUncommitted {
		end = fetched.HighWatermark
	}
	more := passed || fetched.Next > fetched.From && fetched.Next < end
	if more || p.watch.Arm(fetched.LogStart, max(fetched.Next, end)) {
		n.add(p)
		return
	}
	p.waits = fetched.Next >= end
}

// passOver hands over a batch in place of the damaged one, which fails when it is read. It needs the mutex.
func (f *Fetcher) passOver(p *fetchPartition, fetched *Fetched, next int64, err error) {
	b := batch.Damaged(p.offset, next-1, err)
	fetched.Batches, fetched.Bytes, fetched.Next = []batch.Batch{b}, b.Size(), b.LastOffset()+1
	p.offset, p.stopped, p.pause, p.retryAt = fetched.Next, false, nil, time.Time{}
	f.settle(p)
}

// outOfRange finds out what the partition holds. The answer of a fetch that fails says nothing about it.
func (f *Fetcher) outOfRange(ctx context.Context, a *ask) (report, retry error) {
	start, err := listOffset(ctx, f.metadata.client, a.TopicPartition, Earliest, false)
	if err != nil {
		return nil, err
	}
	end, err := listOffset(ctx, f.metadata.client, a.TopicPartition, Latest, false)
	if err != nil {
		return nil, err
	}
	if a.offset >= start && a.offset <= end {
		return nil, kerr.OffsetNotAvailable // it has grown meanwhile
	}
	return &OutOfRangeError{a.TopicPartition, a.offset, start, end}, nil
}

// unpack splits an answer into batches, verifies them and leaves out what was aborted.
func (f *Fetcher) unpack(fetched *Fetched, answer *fetchAnswer) error {
	filter := newAbortFilter(answer.aborted)
	for _, run := range answer.runs {
		for len(run) > 0 {
			b, rest, err := batch.Parse(run)
			if errors.Is(err, batch.ErrShort) {
				break
			}
			if err == nil && !f.transport.checked() {
				err = b.Verify()
			}
			if err != nil {
				return damagedAt(fetched, b, err)
			}
			run = rest
			if b.LastOffset() < fetched.From {
				continue
			}
			keep, err := filter.keep(b)
			if err != nil {
				return damagedAt(fetched, b, err)
			}
			if keep {
				fetched.Batches = append(fetched.Batches, b)
				fetched.Bytes += b.Size()
			}
			fetched.Next = b.LastOffset() + 1
		}
	}
	return nil
}

// damagedAt ends an answer at b, which cannot be read: what lies before it is handed over, and the next answer begins
// with it. b has no bytes where its header is damaged.
func damagedAt(fetched *Fetched, b batch.Batch, err error) error {
	if fetched.Next > fetched.From {
		return nil
	}
	next := int64(0)
	if len(b.Bytes()) > 0 {
		next = b.LastOffset() + 1
	}
	return &corruptError{fetched.TopicPartition, fetched.Next, next, err}
}
