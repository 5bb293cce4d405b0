package kclient

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/assign"
	"thalweg/internal/defect"
)

// Subtopology is what the balancer knows of a part of the topology.
type Subtopology struct {
	ID       int32
	Topics   []string // inputs
	Stateful bool
	Logged   bool // topics have its state: other processes can keep copies of it
}

// BalancerConfig sets a balancer up. Every member of the group needs the same Subtopologies.
type BalancerConfig struct {
	Subtopologies []Subtopology
	// Options say which copies of state there are. Those of the member that leads count.
	Options assign.Options
	// ProbeInterval is after how long the group is balanced again while tasks wait for a warm-up. Default 10 min.
	ProbeInterval time.Duration
	// Report is asked each time the member joins. It may be called from any goroutine.
	Report func() assign.Report
	// Claims are partitions that the member still has after they were revoked, since they are not committed yet: nil:
	// there are none. It is asked each time the member joins, from any goroutine. They are given to nobody else before
	// the member joins again without them.
	Claims func() []TopicPartition
	// Topology says what of the topology is durable; empty: nobody compares. A member that the leader differs from gets
	// nothing.
	Topology string
	// Differs is told that this member is such a one, and what the leader's Topology is; empty: too large to be sent.
	Differs func(leader string)
	// Assigned is told which process has which tasks, before any of them knows, by the member that leads; nil: nobody
	// is. What is on its way from one process to another is nobody's.
	Assigned func([]assign.Process)
	// Unread is told about a member whose report cannot be read, such as that of a newer version, by the member that
	// leads; nil: nobody is told. The member gets tasks like one that has nothing.
	Unread func(member string, err error)
}

// balancer assigns tasks as internal/assign does, and moves whole tasks only: partition p of every input of a
// sub-topology goes to one member. It is cooperative: what a member keeps it goes on with, and what moves is given
// back first, then assigned in a second round.
//
// Members speak the consumer protocol (topics, owned partitions, generation), with an assign.Report as user data. The
// leader answers with the partitions, and with an assign.Sent as user data to those that understand it.
type balancer struct {
	cfg     BalancerConfig
	sent    atomic.Pointer[assign.Sent]      // with the last assignment; nil: by a leader that does not name tasks
	claimed atomic.Pointer[[]TopicPartition] // in the last join, sorted
}

// protocolName is what members of a group must have in common.
const protocolName = "thalweg"

// NewBalancer returns a balancer for Config.Balancer.
func NewBalancer(cfg BalancerConfig) kgo.GroupBalancer {
	setDefault(&cfg.ProbeInterval, 10*time.Minute)
	return &balancer{cfg: cfg}
}

func (b *balancer) ProtocolName() string { return protocolName }
func (b *balancer) IsCooperative() bool  { return true }

func (b *balancer) JoinGroupMetadata(topics []string, current map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics, meta.Generation = 3, topics, generation
	byTopic(b.claim(current), func(tp TopicPartition) TopicPartition { return tp }, func(
		topic string, tps []TopicPartition) {
		owned := kmsg.NewConsumerMemberMetadataOwnedPartition()
		owned.Topic = topic
		for _, tp := range tps {
			owned.Partitions = append(owned.Partitions, tp.Partition)
		}
		meta.OwnedPartitions = append(meta.OwnedPartitions, owned)
	})
	report := b.cfg.Report()
	report.Topology = sumOf(b.cfg.Topology)
	meta.UserData = report.Append(nil)
	return meta.AppendTo(nil)
}

// claim returns what the member has: what it was assigned, and what it has not given back of what it was assigned
// before.
func (b *balancer) claim(current map[string][]int32) []TopicPartition {
	var claimed []TopicPartition
	if b.cfg.Claims != nil {
		claimed = b.cfg.Claims()
		slices.SortFunc(claimed, CompareTopicPartitions)
	}
	b.claimed.Store(&claimed)
	all := append(flatten(current), claimed...)
	slices.SortFunc(all, CompareTopicPartitions)
	return slices.Compact(all)
}

func (b *balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	sent, err := b.read(assignment)
	if err != nil {
		return nil, err
	}
	b.sent.Store(sent)
	return kgo.ParseConsumerSyncAssignment(assignment)
}

func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (
	kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		return nil, nil, fmt.Errorf("kclient: balance: %w", err)
	}
	return cb, cb.MemberTopics(), nil
}

// Balance is called on the member that leads.
func (b *balancer) Balance(cb *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	members, reports := b.members(cb)
	byID := make(map[string]*kmsg.JoinGroupResponseMember)
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, _ *kmsg.ConsumerMemberMetadata) { byID[m.MemberID] = m })
	plan := cb.NewPlan()
	options := b.cfg.Options
	for _, r := range reports {
		if !r.NamesTasks() { // it would not know of copies that it is to make, and never get its share
			options.WarmupsMax = 0
		}
	}
	result := assign.Assign(b.tasks(topics), members, options)
	for _, a := range result.Members {
		for _, id := range a.Active {
			for _, topic := range b.subtopology(id.Subtopology).Topics {
				if id.Partition < topics[topic] {
					plan.AddPartition(byID[a.Member], topic, id.Partition)
				}
			}
		}
	}
	if defect.DoubleOwner && len(result.Members) > 1 {
		for _, id := range result.Members[0].Active {
			for _, topic := range b.subtopology(id.Subtopology).Topics {
				plan.AddPartition(byID[result.Members[1].Member], topic, id.Partition)
			}
		}
	}
	plan.AdjustCooperative(cb)
	return &messages{BalancePlan: plan, other: b.signature(len(cb.Members())), byMember: b.messages(result, reports, plan)}
}

// members are those that get tasks, and what they have reported.
func (b *balancer) members(cb *kgo.ConsumerBalancer) (members []assign.Member, reports map[string]assign.Report) {
	owned, runs := b.owners(cb), map[string]map[assign.TaskID]bool{}
	reports = map[string]assign.Report{}
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		report, err := assign.DecodeReport(meta.UserData)
		if err != nil { // one member must not keep all others from their work
			if b.cfg.Unread != nil {
				b.cfg.Unread(m.MemberID, err)
			}
			report = assign.Report{Process: m.MemberID, Weight: 1}
		}
		if report.Topology != "" && report.Topology != sumOf(b.cfg.Topology) {
			return // it is told by its assignment
		}
		reports[m.MemberID] = report
		for _, id := range owned[m.MemberID] {
			if runs[report.Process] == nil {
				runs[report.Process] = map[assign.TaskID]bool{}
			}
			runs[report.Process][id] = true
		}
	})
	for id, r := range reports {
		if !r.NamesTasks() { // how far it is with what it runs is not known
			r.Held = slices.DeleteFunc(r.Held, func(h assign.Held) bool { return runs[r.Process][h.ID] })
		}
		members = append(members, assign.Member{
			ID: id, Process: r.Process, Weight: r.Weight, Tags: r.Tags, Held: r.Held, Owned: owned[id],
		})
	}
	return members, reports
}

// tasks returns one task per sub-topology and partition. Of inputs with different counts the largest decides.
func (b *balancer) tasks(topics map[string]int32) []assign.Task {
	var tasks []assign.Task
	for _, sub := range b.cfg.Subtopologies {
		n := int32(0)
		for _, topic := range sub.Topics {
			n = max(n, topics[topic])
		}
		for p := range n {
			id := assign.TaskID{Subtopology: sub.ID, Partition: p}
			tasks = append(tasks, assign.Task{ID: id, Stateful: sub.Stateful, Logged: sub.Logged})
		}
	}
	return tasks
}

// owners returns who runs which task now: of several that claim a partition, the one whose claim is youngest.
func (b *balancer) owners(cb *kgo.ConsumerBalancer) map[string][]assign.TaskID {
	type claim struct {
		member     string
		generation int32
	}
	claims := make(map[assign.TaskID]claim)
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		for _, o := range meta.OwnedPartitions {
			sub, ok := b.readerOf(o.Topic)
			if !ok {
				continue
			}
			for _, p := range o.Partitions {
				id := assign.TaskID{Subtopology: sub, Partition: p}
				if c, ok := claims[id]; !ok || meta.Generation > c.generation {
					claims[id] = claim{m.MemberID, meta.Generation}
				}
			}
		}
	})
	owned := make(map[string][]assign.TaskID)
	for id, c := range claims {
		owned[c.member] = append(owned[c.member], id)
	}
	return owned
}

func (b *balancer) readerOf(topic string) (subtopology int32, ok bool) {
	for _, sub := range b.cfg.Subtopologies {
		if slices.Contains(sub.Topics, topic) {
			return sub.ID, true
		}
	}
	return 0, false
}

func (b *balancer) subtopology(id int32) Subtopology {
	i := slices.IndexFunc(b.cfg.Subtopologies, func(s Subtopology) bool { return s.ID == id })
	if i < 0 {
		return Subtopology{ID: id}
	}
	return b.cfg.Subtopologies[i]
}
