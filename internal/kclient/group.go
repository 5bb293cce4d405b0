package kclient

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/assign"
)

// eventsMax is how many events wait for the worker before franz-go's callbacks do.
const eventsMax = 64

// group turns franz-go's callbacks into a queue of events.
type group struct {
	events  chan Event
	closed  <-chan struct{}
	watched chan struct{} // closed when watch has ended

	mu     sync.Mutex
	lease  Lease                   // of the last assignment
	lost   int                     // how often the membership was
	owned  map[TopicPartition]bool // assigned, and neither given back nor lost
	prober *time.Timer             // has the group balanced again; nil: nobody asked for it
	renews bool                    // the group is to be balanced after the next assignment
}

func newGroup(closed <-chan struct{}) *group {
	return &group{
		events: make(chan Event, eventsMax), closed: closed, watched: make(chan struct{}),
		owned: make(map[TopicPartition]bool),
	}
}

func (g *group) options(cfg Config) []kgo.Opt {
	how := cfg.Balancer
	if how == nil {
		how = kgo.CooperativeStickyBalancer()
	}
	tasks, named := how.(*balancer)
	isolation := kgo.ReadCommitted()
	if cfg.ReadUncommitted {
		isolation = kgo.ReadUncommitted()
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(cfg.Group),
		kgo.ConsumeTopics(cfg.Topics...),
		kgo.Balancers(how),
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.HeartbeatInterval(cfg.HeartbeatInterval),
		kgo.RebalanceTimeout(cfg.RebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(isolation),
		kgo.OnPartitionsAssigned(func(ctx context.Context, cl *kgo.Client, m map[string][]int32) {
			id, _ := cl.GroupMetadata()
			e := happened(Assigned, cl, m)
			if named {
				e.Assignment = tasks.sent.Load()
				if claimed := tasks.claimed.Load(); claimed != nil {
					e.Claimed = *claimed
				}
			}
			g.probe(e.Assignment, cl.ForceRebalance)
			if g.takeRenews() {
				cl.ForceRebalance()
			}
			g.assigned(ctx, e, id)
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, m map[string][]int32) {
			g.send(ctx, happened(Revoked, cl, m), true)
			g.disown(m)
		}),
		kgo.OnPartitionsLost(func(ctx context.Context, cl *kgo.Client, m map[string][]int32) {
			g.lose()
			g.send(ctx, happened(Lost, cl, m), true)
			g.disown(m)
		}),
	}
	if cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(cfg.InstanceID))
	}
	return opts
}

// assigned reports new partitions. A member that the coordinator has taken out of the group may learn that by the
// answer to a join, and goes on under another id. franz-go then keeps its partitions without a word, though others may
// have had them since: they are lost, and assigned again.
func (g *group) assigned(ctx context.Context, e Event, member string) {
	if kept := g.kept(); !g.isMember(member) && len(kept) > 0 {
		g.lose()
		g.send(ctx, Event{Kind: Lost, Partitions: kept, Generation: e.Generation}, true)
		e.Partitions = append(e.Partitions, kept...)
		slices.SortFunc(e.Partitions, CompareTopicPartitions)
		e.Partitions = slices.Compact(e.Partitions)
	}
	g.mu.Lock()
	for _, tp := range e.Partitions {
		g.owned[tp] = true
	}
	g.lease = Lease{member, g.lost}
	e.Lease = g.lease
	g.mu.Unlock()
	g.send(ctx, e, false)
}

// probe has the group balanced again after a while, if the leader wants this member to do it.
func (g *group) probe(sent *assign.Sent, rebalance func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.prober != nil {
		g.prober.Stop()
		g.prober = nil
	}
	if sent == nil || sent.ProbeAfter <= 0 {
		return
	}
	g.prober = time.AfterFunc(sent.ProbeAfter, func() {
		select {
		case <-g.closed:
		default:
			rebalance()
		}
	})
}

// lose ends all leases.
func (g *group) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost++
}

// isMember tells whether partitions were assigned to the id last, or none to any.
func (g *group) isMember(id string) bool {
	l := g.held()
	return l == Lease{} || l.member == id
}

// held is the lease of the last assignment.
func (g *group) held() Lease {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease
}

// holds tells whether a lease lasts while the client is this member. No lease is needed before the first assignment.
func (g *group) holds(l Lease, member string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return l == Lease{member, g.lost} || l == Lease{} && g.lease == Lease{}
}

// kept are the partitions that were assigned and not given back.
func (g *group) kept() []TopicPartition {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Keys(g.owned), CompareTopicPartitions)
}

func (g *group) disown(m map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tp := range flatten(m) {
		delete(g.owned, tp)
	}
}

// happened is an event of franz-go's.
func happened(kind EventKind, cl *kgo.Client, m map[string][]int32) Event {
	_, generation := cl.GroupMetadata()
	return Event{Kind: kind, Partitions: flatten(m), Generation: generation}
}

// send queues an event and, if the group has to, waits until the worker has dealt with it.
func (g *group) send(ctx context.Context, e Event, wait bool) {
	if wait && len(e.Partitions) == 0 {
		return
	}
	e.done, e.release = new(sync.Once), make(chan struct{})
	select {
	case g.events <- e:
	case <-g.closed:
		return
	case <-ctx.Done():
		return
	}
	if !wait {
		return
	}
	select {
	case <-e.release:
	case <-g.closed:
	case <-ctx.Done():
	}
}

// watch takes the errors that franz-go injects into polls: there is nothing else in them, as the topics are paused.
func (g *group) watch(client *kgo.Client) {
	defer close(g.watched)
	for {
		fetches := client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		for _, fe := range fetches.Errors() {
			if errors.Is(fe.Err, kgo.ErrClientClosed) {
				return
			}
			e := Event{Kind: Trouble, Err: classified(fe.Err)}
			if fe.Topic != "" {
				e.Partitions = []TopicPartition{{fe.Topic, fe.Partition}}
			}
			g.offer(e)
		}
	}
}

// offer queues an event that may be dropped: trouble that persists is reported again.
func (g *group) offer(e Event) {
	select {
	case g.events <- e:
	default:
	}
}

func flatten(m map[string][]int32) []TopicPartition {
	var tps []TopicPartition
	for topic, partitions := range m {
		for _, p := range partitions {
			tps = append(tps, TopicPartition{topic, p})
		}
	}
	slices.SortFunc(tps, CompareTopicPartitions)
	return tps
}

// CompareTopicPartitions orders partitions by topic and number.
func CompareTopicPartitions(a, b TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// byTopic groups values by the topic of their partition, in order.
func byTopic[T any](values []T, of func(T) TopicPartition, visit func(topic string, values []T)) {
	sorted := slices.Clone(values)
	slices.SortStableFunc(sorted, func(a, b T) int { return CompareTopicPartitions(of(a), of(b)) })
	for len(sorted) > 0 {
		topic, n := of(sorted[0]).Topic, 1
		for n < len(sorted) && of(sorted[n]).Topic == topic {
			n++
		}
		visit(topic, sorted[:n])
		sorted = sorted[n:]
	}
}
