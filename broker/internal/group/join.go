package group

import (
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// JoinRequest is a JoinGroup request with what the protocol tells beside it.
type JoinRequest struct {
	*kmsg.JoinGroupRequest
	ClientID, ClientHost string
	// NewMemberID is an id that nobody has; it is used when the request comes without one.
	NewMemberID string
	// Reply is called once, maybe much later.
	Reply func(*kmsg.JoinGroupResponse)
}

// Join begins or continues a rebalance, or confirms a member in the present generation.
func (m *Machine) Join(r JoinRequest, now time.Time) (step coord.Step) {
	g, known := m.groups[r.Group]
	if err := m.checkJoin(r, g); err != nil {
		r.fail(err, r.MemberID)
		return step
	}
	if !known {
		g = m.group(r.Group)
	}
	if r.MemberID == "" {
		m.joinNew(g, r, now, &step)
	} else {
		m.joinAgain(g, r, now, &step)
	}
	return step
}

func (r *JoinRequest) fail(err *kerr.Error, memberID string) {
	resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.Generation = -1
	resp.ErrorCode = err.Code
	resp.MemberID = memberID
	if r.Version < 7 {
		resp.Protocol = kmsg.StringPtr("")
	}
	r.Reply(resp)
}

func (m *Machine) checkJoin(r JoinRequest, g *group) *kerr.Error {
	session := time.Duration(r.SessionTimeoutMillis) * time.Millisecond
	switch {
	case r.Group == "":
		return kerr.InvalidGroupID
	case session < m.cfg.MinSessionTimeout || session > m.cfg.MaxSessionTimeout:
		return kerr.InvalidSessionTimeout
	case r.ProtocolType == "" || len(r.Protocols) == 0:
		return kerr.InconsistentGroupProtocol
	case g == nil && r.MemberID != "":
		return kerr.UnknownMemberID
	case g != nil && !g.takes(r.ProtocolType, r.Protocols):
		return kerr.InconsistentGroupProtocol
	case g != nil && len(g.members)+len(g.pendingMembers) >= m.cfg.MaxMembers && r.MemberID == "":
		return kerr.GroupMaxSizeReached
	}
	return nil
}

// joinNew lets somebody in who has no member id yet.
func (m *Machine) joinNew(g *group, r JoinRequest, now time.Time, step *coord.Step) {
	if r.InstanceID != nil {
		if old := g.members[g.statics[*r.InstanceID]]; old != nil {
			m.replaceStatic(g, old, r, now, step)
			return
		}
	} else if r.Version >= 4 {
		// The id goes out first, so that a client whose answer got lost does not leave a member behind.
		g.pendingMembers[r.NewMemberID] = struct{}{}
		m.timers.Set(timer{invitedTimer, g.id, r.NewMemberID},
			now.Add(time.Duration(r.SessionTimeoutMillis)*time.Millisecond))
		r.fail(kerr.MemberIDRequired, r.NewMemberID)
		return
	}
	m.admit(g, r.NewMemberID, r, now, step)
}

// admit makes a new member and rebalances.
func (m *Machine) admit(g *group, id string, r JoinRequest, now time.Time, step *coord.Step) {
	member := &member{id: id, instance: r.InstanceID, awaitingJoin: r.Reply}
	member.update(r)
	if len(g.members) == 0 {
		g.protocolType = r.ProtocolType
	}
	g.add(member)
	g.arrived = true
	m.rebalance(g, now, step)
}

func (m *member) update(r JoinRequest) {
	m.clientID, m.clientHost, m.protocols = r.ClientID, r.ClientHost, r.Protocols
	m.sessionTimeout = time.Duration(r.SessionTimeoutMillis) * time.Millisecond
	m.rebalanceTimeout = time.Duration(r.RebalanceTimeoutMillis) * time.Millisecond
	if m.rebalanceTimeout <= 0 {
		m.rebalanceTimeout = m.sessionTimeout
	}
}

// joinAgain is for those who have a member id.
func (m *Machine) joinAgain(g *group, r JoinRequest, now time.Time, step *coord.Step) {
	if _, ok := g.pendingMembers[r.MemberID]; ok && r.InstanceID == nil {
		delete(g.pendingMembers, r.MemberID)
		m.timers.Stop(timer{invitedTimer, g.id, r.MemberID})
		m.admit(g, r.MemberID, r, now, step)
		return
	}
	member, err := g.findMember(r.MemberID, r.InstanceID)
	if err != nil {
		r.fail(err, r.MemberID)
		return
	}
	same := member.sameProtocols(r.Protocols)
	switch {
	case g.state == completing && same, // the answer was lost
		g.state == stable && same && member.id != g.leader:
		m.touch(g, member, now)
		r.Reply(g.joined(member, r.JoinGroupRequest))
	default:
		m.rejoin(g, member, r, now, step)
	}
}

func (m *Machine) rejoin(g *group, member *member, r JoinRequest, now time.Time, step *coord.Step) {
	if member.awaitingJoin != nil { // a repetition: the older request's client has gone
		resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode, resp.MemberID = kerr.UnknownMemberID.Code, member.id
		member.awaitingJoin(resp)
	}
	member.update(r)
	member.awaitingJoin = r.Reply
	m.rebalance(g, now, step)
}

// replaceStatic puts a restarted instance in its predecessor's place, without a rebalance if it can be. As in Apache
// Kafka, what the member says of itself does not count for that, since a restarted one owns nothing: a client that is
// another one than before joins again.
func (m *Machine) replaceStatic(g *group, old *member, r JoinRequest, now time.Time, step *coord.Step) {
	next := *old
	next.id, next.awaitingJoin, next.awaitingSync = r.NewMemberID, nil, nil
	next.update(r)
	wasLeader := g.leader == old.id
	replaced := g.with(old, &next)
	if g.state != stable || replaced.vote() != g.protocol {
		old.dismiss(kerr.FencedInstanceID)
		m.timers.Stop(timer{sessionTimer, g.id, old.id})
		g.members, g.statics, g.leader = replaced.members, replaced.statics, replaced.leader
		next.awaitingJoin = r.Reply
		m.rebalance(g, now, step)
		return
	}
	step.Records = append(step.Records, replaced.record(now))
	step.Reply(func(err error) {
		if err != nil { // the log refused the record: the instance is still its predecessor
			r.fail(kerr.UnknownServerError, next.id)
			return
		}
		old.dismiss(kerr.FencedInstanceID)
		next.assignment = g.members[next.id].assignment
		g.members[next.id] = &next // with what the record does not hold
		resp := g.joined(&next, r.JoinGroupRequest)
		if r.Version >= 9 {
			resp.SkipAssignment = wasLeader
		} else if wasLeader {
			resp.LeaderID, resp.Members = old.id, nil // so that it does not assign again
		}
		r.Reply(resp)
	})
}

// with returns a copy of the group with a member in another's place.
func (g *group) with(old, next *member) *group {
	replaced := *g
	replaced.members, replaced.statics = maps.Clone(g.members), maps.Clone(g.statics)
	delete(replaced.members, old.id)
	replaced.add(next)
	if g.leader == old.id {
		replaced.leader = next.id
	}
	return &replaced
}

// joined is the answer that puts a member into the present generation.
func (g *group) joined(member *member, r *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Generation = g.generation
	resp.ProtocolType = kmsg.StringPtr(g.protocolType)
	resp.Protocol = kmsg.StringPtr(g.protocol)
	resp.LeaderID = g.leader
	resp.MemberID = member.id
	resp.Members = []kmsg.JoinGroupResponseMember{}
	if member.id != g.leader {
		return resp
	}
	for _, other := range g.sortedMembers() {
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.InstanceID, m.ProtocolMetadata = other.id, other.instance, other.metadata(g.protocol)
		resp.Members = append(resp.Members, m)
	}
	return resp
}
