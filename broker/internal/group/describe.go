package group

import (
	"slices"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// Fetched is a committed offset; Offset is -1 when there is none.
type Fetched struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    string
	Err         *kerr.Error
}

// Offset returns what a group committed for a partition. If stable is set, an offset that an open transaction may
// change is an error.
func (m *Machine) Offset(groupID, topic string, partition int32, stable bool) Fetched {
	none := Fetched{Offset: -1, LeaderEpoch: -1}
	g := m.groups[groupID]
	if g == nil {
		return none
	}
	tp := topicPartition{topic, partition}
	if stable && g.unstable[tp] > 0 {
		none.Err = kerr.UnstableOffsetCommit
		return none
	}
	o, ok := g.offsets[tp]
	if !ok {
		return none
	}
	return Fetched{Offset: o.offset, LeaderEpoch: o.leaderEpoch, Metadata: o.metadata}
}

// Committed returns the partitions, by topic, that a group has offsets of, or may get from open transactions.
func (m *Machine) Committed(groupID string) (topics []string, partitions map[string][]int32) {
	partitions = map[string][]int32{}
	g := m.groups[groupID]
	if g == nil {
		return nil, partitions
	}
	for tp := range g.partitions() {
		if partitions[tp.topic] == nil {
			topics = append(topics, tp.topic)
		}
		partitions[tp.topic] = append(partitions[tp.topic], tp.partition)
	}
	sort.Strings(topics)
	for _, p := range partitions {
		slices.Sort(p)
	}
	return topics, partitions
}

// Describe returns the state of a group; ok is false when it does not exist.
func (m *Machine) Describe(groupID string) (d kmsg.DescribeGroupsResponseGroup, ok bool) {
	d = kmsg.NewDescribeGroupsResponseGroup()
	d.Group, d.State, d.Members = groupID, "Dead", []kmsg.DescribeGroupsResponseGroupMember{}
	g := m.groups[groupID]
	if g == nil {
		return d, false
	}
	d.State, d.ProtocolType = g.state.String(), g.protocolType
	if g.state == stable {
		d.Protocol = g.protocol
	}
	for _, member := range g.sortedMembers() {
		dm := kmsg.NewDescribeGroupsResponseGroupMember()
		dm.MemberID, dm.InstanceID = member.id, member.instance
		dm.ClientID, dm.ClientHost = member.clientID, member.clientHost
		dm.ProtocolMetadata, dm.MemberAssignment = []byte{}, []byte{}
		if g.state == stable {
			dm.ProtocolMetadata = append(dm.ProtocolMetadata, member.metadata(g.protocol)...)
			dm.MemberAssignment = append(dm.MemberAssignment, member.assignment...)
		}
		d.Members = append(d.Members, dm)
	}
	return d, true
}

// List returns all groups, sorted.
func (m *Machine) List() []kmsg.ListGroupsResponseGroup {
	groups := make([]kmsg.ListGroupsResponseGroup, 0, len(m.groups))
	for _, g := range m.groups {
		lg := kmsg.NewListGroupsResponseGroup()
		lg.Group, lg.ProtocolType, lg.GroupState, lg.GroupType = g.id, g.protocolType, g.state.String(), "classic"
		groups = append(groups, lg)
	}
	slices.SortFunc(groups, func(a, b kmsg.ListGroupsResponseGroup) int {
		if a.Group < b.Group {
			return -1
		}
		return 1
	})
	return groups
}

// Delete removes a group without members, with its offsets, those that open transactions would commit among them. Ids
// that were handed out and have not joined end with it, as in Apache Kafka.
func (m *Machine) Delete(groupID string) (step coord.Step, err *kerr.Error) {
	g := m.groups[groupID]
	switch {
	case g == nil:
		return step, kerr.GroupIDNotFound
	case g.state != empty:
		return step, kerr.NonEmptyGroup
	}
	for tp := range g.partitions() {
		step.Put(offsetKey(g.id, tp), nil)
	}
	step.Put(g.key(), nil)
	step.Reply(func(err error) {
		if err != nil {
			return
		}
		for id := range g.pendingMembers {
			m.timers.Stop(timer{invitedTimer, g.id, id})
		}
		clear(g.pendingMembers)
		m.dropIfUnused(g)
	})
	return step, nil
}

// DeleteOffsets removes offsets that no member of the group is subscribed to, those that open transactions would commit
// among them. There is one error per Commit.
func (m *Machine) DeleteOffsets(groupID string, commits []Commit) (step coord.Step, err *kerr.Error) {
	g := m.groups[groupID]
	switch {
	case groupID == "":
		return step, kerr.InvalidGroupID
	case g == nil:
		return step, kerr.GroupIDNotFound
	case g.state != empty && g.protocolType != "consumer":
		return step, kerr.NonEmptyGroup
	}
	subscribed := g.subscriptions()
	for i := range commits {
		c := &commits[i]
		tp := topicPartition{c.Topic, c.Partition}
		_, there := g.offsets[tp]
		switch {
		case c.Err != nil:
		case subscribed[c.Topic]:
			c.Err = kerr.GroupSubscribedToTopic
		case there || g.unstable[tp] > 0:
			step.Put(offsetKey(g.id, tp), nil)
		}
	}
	return step, nil
}

// subscriptions are the topics that members of a consumer group subscribe to.
func (g *group) subscriptions() map[string]bool {
	topics := map[string]bool{}
	for _, member := range g.members {
		for i := range member.protocols {
			meta := kmsg.NewConsumerMemberMetadata()
			if meta.ReadFrom(member.protocols[i].Metadata) != nil {
				continue
			}
			for _, topic := range meta.Topics {
				topics[topic] = true
			}
		}
	}
	return topics
}

// DeleteTopic removes the offsets of a topic that is no more, those that open transactions would commit among them.
func (m *Machine) DeleteTopic(topic string) (step coord.Step) {
	for _, g := range m.groups {
		for tp := range g.partitions() {
			if tp.topic == topic {
				step.Put(offsetKey(g.id, tp), nil)
			}
		}
	}
	return step
}

// expire removes the offsets of a group that has been without members for long, and the group with the last of them.
// Offsets with an expiry of their own go by that.
func (m *Machine) expire(g *group, now time.Time, step *coord.Step) {
	if g.state != empty {
		return
	}
	next := time.Time{}
	kept := 0
	var expired []Expired
	for tp, o := range g.offsets {
		at := o.expires
		if at.IsZero() {
			at = o.committed.Add(m.cfg.OffsetRetention)
			if idle := g.since.Add(m.cfg.OffsetRetention); g.protocolType != "" && idle.After(at) {
				at = idle
			}
		}
		if g.unstable[tp] > 0 && !at.After(now) { // its transaction decides first
			at = now.Add(retryAfter)
		}
		if at.After(now) {
			kept++
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		step.Put(offsetKey(g.id, tp), nil)
		expired = append(expired, Expired{g.id, tp.topic, tp.partition, o.offset, o.committed})
	}
	step.Reply(func(err error) {
		if err != nil {
			m.timers.Sooner(timer{kind: expiryTimer, group: g.id}, now.Add(retryAfter))
			return
		}
		for _, e := range expired {
			if m.cfg.OnExpire != nil {
				m.cfg.OnExpire(e)
			}
		}
	})
	if kept == 0 && g.pendingOffsets == 0 && g.recorded {
		step.Put(g.key(), nil)
	}
	if !next.IsZero() {
		m.timers.Set(timer{kind: expiryTimer, group: g.id}, next)
	}
}
