package kclient

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"thalweg/internal/direct"
)

// FetcherConfig sets a fetch stream up. The zero value is good for restoring.
type FetcherConfig struct {
	// BytesMax limits one answer. Default 32 MiB.
	BytesMax int
	// PartitionBytesMax limits one partition's part of an answer. Default 8 MiB.
	PartitionBytesMax int
	// ReadUncommitted fetches what transactions have written before they end, and what aborted ones wrote.
	ReadUncommitted bool
}

// Fetcher fetches partitions from where it is told to, one answer ahead of the one who takes them.
//
// Each broker that leads one of the partitions has a goroutine, which asks for all partitions there that are
// neither paused nor stopped, hands the answer over, and asks on. So no more than three answers exist per broker,
// and nothing is fetched while nobody takes. The partitions take turns at being first in a request, so that none
// starves when the answer's limit is reached.
//
// A broker in this process is not asked for partitions that have nothing. Each of those waits at its log, by a watch,
// which lists it when there is more: so a request costs what the active partitions cost, however many there are.
type Fetcher struct {
	cfg       FetcherConfig
	waitMax   time.Duration
	transport transport
	metadata  *metadata
	log       *slog.Logger
	fetched   chan []Fetched
	spawn     func(run func(ctx context.Context)) // until cancel
	cancel    context.CancelFunc
	running   sync.WaitGroup
	onClose   func()
	closeOnce sync.Once

	mu         sync.Mutex
	partitions map[TopicPartition]*fetchPartition
	order      []*fetchPartition // those of partitions, and some that are removed; rotates
	removed    int               // of these
	watches    bool              // partitions have watches, and nodes lists
	recreated  bool              // some partition's topic may have been recreated
	nodes      map[int32]*fetchNode
	closed     bool          // no goroutine starts any more
	homeless   chan struct{} // has a token when a partition's leader is unknown
}

// fetchPartition is one partition's place in a Fetcher, guarded by its mutex but for generation.
type fetchPartition struct {
	TopicPartition
	generation atomic.Uint64 // counts Set and Unset
	offset     int64         // to ask for next
	topicID    TopicID
	was        TopicID // what topicID was before the topic was recreated; zero: it was not
	leader     leader
	paused     bool
	stopped    bool // an error was handed over: waits for Set
	removed    bool
	retryAt    time.Time // not before
	watch      direct.Watch
	listed     bool      // in its node's list; guarded by the node's mutex
	waits      bool      // the watch was armed at the partition's end, and it was not asked for since
	pause      *backoff  // of the failures since the last answer; nil without any
	failures   int       // their number
	failingFor time.Time // since when
	warned     time.Time // when a line about it was logged
}

// fetchNode is the goroutine that fetches from one broker.
type fetchNode struct {
	id        int32
	wake      chan struct{} // has a token when the plan may have changed
	interrupt context.CancelFunc
	asked     map[*fetchPartition]uint64 // in the request under way, by generation

	listing sync.Mutex        // the last to be locked: watches fire with locks of the broker held
	list    []*fetchPartition // where partitions have watches: those to ask for next
}

// add lists a partition to be asked for.
func (n *fetchNode) add(p *fetchPartition) {
	n.listing.Lock()
	if !p.listed {
		p.listed = true
		n.list = append(n.list, p)
	}
	n.listing.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take empties the list.
func (n *fetchNode) take() []*fetchPartition {
	n.listing.Lock()
	defer n.listing.Unlock()
	list := n.list
	n.list = nil
	for _, p := range list {
		p.listed = false
	}
	return list
}

func newFetcher(fc FetcherConfig, cfg Config, t transport, m *metadata) *Fetcher {
	setDefault(&fc.BytesMax, 32<<20)
	setDefault(&fc.PartitionBytesMax, 8<<20)
	ctx, cancel := context.WithCancel(context.Background())
	f := &Fetcher{
		cfg:        fc,
		waitMax:    cfg.FetchWaitMax,
		transport:  t,
		metadata:   m,
		log:        cfg.Logger,
		fetched:    make(chan []Fetched, 1),
		cancel:     cancel,
		partitions: make(map[TopicPartition]*fetchPartition),
		nodes:      make(map[int32]*fetchNode),
		homeless:   make(chan struct{}, 1),
	}
	f.watches = t.watch(TopicPartition{}, TopicID{}, true, func() {}) != nil
	f.spawn = func(run func(context.Context)) { f.running.Go(func() { run(ctx) }) }
	f.spawn(f.findLeaders)
	return f
}

// Fetched returns what arrives, one broker's answer at a time. Each partition occurs in it once at most. Ask
// Fetched.Stale before using one. The channel is never closed.
func (f *Fetcher) Fetched() <-chan []Fetched { return f.fetched }

// Set starts fetching a partition at offset, or goes on there when it was fetched already. It isn't paused then.
func (f *Fetcher) Set(tp TopicPartition, offset int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.partitions[tp]
	if p == nil {
		p = &fetchPartition{TopicPartition: tp, leader: leader{node: -1, epoch: -1}}
		f.partitions[tp] = p
		f.order = append(f.order, p)
	}
	p.generation.Add(1)
	p.offset, p.paused, p.stopped, p.pause, p.retryAt = offset, false, false, nil, time.Time{}
	p.was, p.waits = TopicID{}, false
	f.settle(p)
}

// Unset stops fetching a partition and forgets it.
func (f *Fetcher) Unset(tp TopicPartition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.partitions[tp]; p != nil {
		p.generation.Add(1)
		p.removed = true
		if p.watch != nil {
			p.watch.Disarm()
		}
		delete(f.partitions, tp)
		if f.removed++; f.removed > len(f.order)/2 {
			f.order = slices.DeleteFunc(f.order, func(o *fetchPartition) bool { return o.removed })
			f.removed = 0
		}
	}
}

// Pause stops asking for a partition. What was asked for before still arrives, once.
func (f *Fetcher) Pause(tp TopicPartition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.partitions[tp]; p != nil {
		p.paused = true
	}
}

// Resume undoes Pause.
func (f *Fetcher) Resume(tp TopicPartition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.partitions[tp]; p != nil && p.paused {
		p.paused = false
		f.settle(p)
	}
}

// SetBytesMax changes the limit of the answers that are asked for from now on.
func (f *Fetcher) SetBytesMax(bytesMax int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cfg.BytesMax = bytesMax
}

// Position returns the offset that is asked for next.
func (f *Fetcher) Position(tp TopicPartition) (offset int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.partitions[tp]
	if p == nil {
		return 0, false
	}
	return p.offset, true
}

// Waits tells that everything up to an offset has been handed over, and that the partition has nothing more: it waits
// at its log, in a broker in this process, until it has.
func (f *Fetcher) Waits(tp TopicPartition, next int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.partitions[tp]
	if p == nil || !p.waits || p.paused || p.offset != next {
		return false
	}
	n := f.nodes[p.leader.node]
	if n == nil {
		return false
	}
	n.listing.Lock()
	defer n.listing.Unlock()
	return !p.listed
}

// Close stops everything that the fetcher runs.
func (f *Fetcher) Close() {
	f.closeOnce.Do(func() {
		f.mu.Lock()
		f.closed = true
		f.mu.Unlock()
		f.cancel()
		f.running.Wait()
		f.disarm()
		if f.onClose != nil {
			f.onClose()
		}
	})
}

// disarm ends all waiting.
func (f *Fetcher) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.partitions {
		if p.watch != nil {
			p.watch.Disarm()
		}
	}
}

// settle gives the partition to the goroutine of its leader, which it wakes. It needs the mutex.
func (f *Fetcher) settle(p *fetchPartition) {
	if p.leader.node < 0 {
		place, id, ok := f.metadata.lookup(p.TopicPartition)
		if !ok {
			select {
			case f.homeless <- struct{}{}:
			default:
			}
			return
		}
		if p.topicID != id && p.topicID != (TopicID{}) && id != (TopicID{}) {
			p.was, f.recreated = p.topicID, true
		}
		if p.topicID != id && p.watch != nil {
			p.watch.Disarm()
			p.watch = nil
		}
		p.leader, p.topicID = place, id
	}
	n := f.nodes[p.leader.node]
	if n == nil {
		if f.closed {
			return
		}
		n = &fetchNode{id: p.leader.node, wake: make(chan struct{}, 1)}
		f.nodes[n.id] = n
		f.spawn(func(ctx context.Context) { f.run(ctx, n) })
	}
	if p.watch == nil {
		p.watch = f.transport.watch(p.TopicPartition, p.topicID, !f.cfg.ReadUncommitted, func() { n.add(p) })
	}
	if p.watch != nil {
		n.add(p)
		return
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
	if n.interrupt != nil && f.transport.interruptible() {
		if asked, ok := n.asked[p]; !ok || asked != p.generation.Load() {
			n.interrupt()
		}
	}
}

// findLeaders asks where the partitions live whose leader is unknown.
func (f *Fetcher) findLeaders(ctx context.Context) {
	for {
		select {
		case <-f.homeless:
		case <-ctx.Done():
			return
		}
		for pause := newBackoff(); ; {
			topics := f.homelessTopics()
			if len(topics) == 0 {
				break
			}
			failed, err := f.metadata.refresh(ctx, topics)
			if err != nil && ctx.Err() == nil {
				f.log.Warn("fetch: can't get metadata, trying again", "err", err)
			}
			f.house(ctx, topics, failed)
			if pause.wait(ctx) != nil {
				return
			}
		}
	}
}

func (f *Fetcher) homelessTopics() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var topics []string
	for _, p := range f.order {
		if p.leader.node < 0 && !p.stopped && !p.removed && !slices.Contains(topics, p.Topic) {
			topics = append(topics, p.Topic)
		}
	}
	return topics
}

// house settles partitions after fresh metadata came, and gives up those of topics that can't be had.
func (f *Fetcher) house(ctx context.Context, topics []string, failed map[string]error) {
	var given []Fetched
	f.mu.Lock()
	now := time.Now()
	for _, p := range f.order {
		if p.leader.node >= 0 || p.stopped || p.removed || !slices.Contains(topics, p.Topic) {
			continue
		}
		err := failed[p.Topic]
		if err == nil {
			f.settle(p)
			continue
		}
		if e := f.failed(p, err, now); e != nil {
			given = append(given, *e)
		}
	}
	f.mu.Unlock()
	f.hand(ctx, given)
}

// hand waits until an answer is taken.
func (f *Fetcher) hand(ctx context.Context, fetched []Fetched) {
	if len(fetched) == 0 {
		return
	}
	select {
	case f.fetched <- fetched:
	case <-ctx.Done():
	}
}

// warnEvery is how often a failure that lasts is logged. A batch that is still broken at the last of
// corruptTriesMax tries was not broken on its way.
const (
	warnEvery       = 10 * time.Second
	corruptTriesMax = 4
)

// failed notes a failure. It returns what to hand over when the partition is given up. It needs the mutex.
func (f *Fetcher) failed(p *fetchPartition, err error, now time.Time) *Fetched {
	if p.pause == nil {
		p.pause, p.failures, p.failingFor, p.warned = newBackoff(), 0, now, time.Time{}
	}
	p.failures++
	givenUp := !isRetriable(err)
	switch {
	case isUnknownTopic(err):
		givenUp = now.Sub(p.failingFor) >= unknownTopicMax
	case IsDamage(err):
		givenUp = p.failures >= corruptTriesMax
	}
	if !givenUp {
		if now.Sub(p.warned) >= warnEvery {
			p.warned = now
			f.log.Warn("fetch: trying again",
				"topic", p.Topic, "partition", p.Partition, "offset", p.offset, "err", err)
		}
		p.retryAt = now.Add(p.pause.take())
		return nil
	}
	p.stopped = true
	given := p.refuse(&Error{Fatal, fmt.Errorf("kclient: fetch %s at offset %d: %w%s", p, p.offset, err, advice(err))})
	return &given
}

// refuse is what is handed over of a partition that is not fetched any further.
func (p *fetchPartition) refuse(err error) Fetched {
	return Fetched{
		TopicPartition: p.TopicPartition,
		From:           p.offset,
		Next:           p.offset,
		Err:            err,
		partition:      p,
		generation:     p.generation.Load(),
	}
}
