package group

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// Versions of the records' keys, which tell the records apart, and of their values.
const (
	offsetKeyVersion   = 1 // 0, too, in old logs
	groupKeyVersion    = 2
	offsetValueVersion = 3
	groupValueVersion  = 3
)

func (g *group) key() []byte {
	key := kmsg.NewGroupMetadataKey()
	key.Version, key.Group = groupKeyVersion, g.id
	return key.AppendTo(nil)
}

// record is the group as of its present generation.
func (g *group) record(now time.Time) coord.Record {
	return g.recordOf(now, func(m *member) []byte { return m.assignment })
}

// recordOf is the group as of its present generation, with other assignments.
func (g *group) recordOf(now time.Time, assignment func(*member) []byte) coord.Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = groupValueVersion
	v.ProtocolType = g.protocolType
	v.Generation = g.generation
	v.CurrentStateTimestamp = now.UnixMilli()
	if len(g.members) > 0 {
		v.Protocol, v.Leader = kmsg.StringPtr(g.protocol), kmsg.StringPtr(g.leader)
	}
	for _, m := range g.sortedMembers() {
		member := kmsg.NewGroupMetadataValueMember()
		member.MemberID, member.InstanceID = m.id, m.instance
		member.ClientID, member.ClientHost = m.clientID, m.clientHost
		member.RebalanceTimeoutMillis = int32(m.rebalanceTimeout.Milliseconds())
		member.SessionTimeoutMillis = int32(m.sessionTimeout.Milliseconds())
		member.Subscription, member.Assignment = m.metadata(g.protocol), assignment(m)
		v.Members = append(v.Members, member)
	}
	return coord.Record{Key: g.key(), Value: v.AppendTo(nil)}
}

// Replay implements coord.Machine.
func (m *Machine) Replay(r coord.Record, p *coord.Producer, now time.Time) error {
	if len(r.Key) < 2 {
		return fmt.Errorf("group: record with key %q: too short", r.Key)
	}
	switch version := int16(binary.BigEndian.Uint16(r.Key)); version {
	case 0, offsetKeyVersion:
		return m.replayOffset(r, p, now)
	case groupKeyVersion:
		return m.replayGroup(r, now)
	default:
		return fmt.Errorf("group: record with key version %d: unknown", version)
	}
}

func (m *Machine) replayGroup(r coord.Record, now time.Time) error {
	key := kmsg.NewGroupMetadataKey()
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("group: key of a group: %w", err)
	}
	if r.Value == nil {
		if g := m.groups[key.Group]; g != nil {
			g.recorded = false
			m.dropIfUnused(g)
		}
		return nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("group %s: record: %w", key.Group, err)
	}
	m.applyGroup(m.group(key.Group), &v, now)
	return nil
}

// applyGroup makes v the group's state. Members that are there keep what is soft.
func (m *Machine) applyGroup(g *group, v *kmsg.GroupMetadataValue, now time.Time) {
	g.recorded = true
	g.protocolType, g.generation = v.ProtocolType, v.Generation
	g.protocol, g.leader = deref(v.Protocol), deref(v.Leader)
	g.since = time.UnixMilli(v.CurrentStateTimestamp)
	before := g.members
	g.members, g.statics = make(map[string]*member, len(v.Members)), make(map[string]string)
	for i := range v.Members {
		mv := &v.Members[i]
		member := before[mv.MemberID]
		if member == nil {
			member = recovered(mv, g.protocol)
		}
		member.assignment = mv.Assignment
		g.add(member)
		delete(before, mv.MemberID)
		m.touch(g, member, now)
	}
	for id := range before {
		m.timers.Stop(timer{sessionTimer, g.id, id})
	}
	g.state = stable
	if len(g.members) == 0 {
		g.state = empty
		g.leader, g.delayed = "", false
		m.timers.Stop(timer{kind: syncTimer, group: g.id})
		m.timers.Stop(timer{kind: rebalanceTimer, group: g.id})
		m.timers.Set(timer{kind: expiryTimer, group: g.id}, g.since.Add(m.cfg.OffsetRetention))
	}
}

// recovered is a member as the log knows it: with the protocol that was chosen, and no other.
func recovered(v *kmsg.GroupMetadataValueMember, protocol string) *member {
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = protocol, v.Subscription
	return &member{
		id: v.MemberID, instance: v.InstanceID, clientID: v.ClientID, clientHost: v.ClientHost,
		sessionTimeout:   time.Duration(v.SessionTimeoutMillis) * time.Millisecond,
		rebalanceTimeout: time.Duration(v.RebalanceTimeoutMillis) * time.Millisecond,
		protocols:        []kmsg.JoinGroupRequestProtocol{p},
		synced:           true,
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Snapshot implements coord.Machine.
func (m *Machine) Snapshot(emit func(coord.Record)) {
	for _, g := range m.groups {
		if g.recorded {
			emit(g.snapshotRecord())
		}
		for tp, o := range g.offsets {
			emit(o.record(g.id, tp))
		}
	}
}

// snapshotRecord is the group as a restart is to find it. In the middle of a rebalance that is a group whose members
// join again, which is what they would do anyway.
func (g *group) snapshotRecord() coord.Record {
	if g.state == stable || g.state == empty {
		return g.record(g.since)
	}
	lasting := *g
	lasting.members = nil
	return lasting.record(g.since)
}
