package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// Sync gives a member its assignment, once the leader has brought it. Reply is called once, maybe much later.
func (m *Machine) Sync(r *kmsg.SyncGroupRequest, reply func(*kmsg.SyncGroupResponse), now time.Time) (step coord.Step) {
	g := m.groups[r.Group]
	member, err := m.checkSync(g, r)
	if err != nil {
		resp := r.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode = err.Code
		resp.MemberAssignment = []byte{}
		reply(resp)
		return step
	}
	member.synced = true
	if g.state == stable {
		m.touch(g, member, now)
		reply(g.synced(member))
		return step
	}
	if member.syncing != nil {
		m.failSync(g, member, kerr.RebalanceInProgress, now)
	}
	member.syncing = reply
	if member.id == g.leader {
		m.assign(g, r.GroupAssignment, now, &step)
	}
	return step
}

func (m *Machine) checkSync(g *group, r *kmsg.SyncGroupRequest) (*member, *kerr.Error) {
	if g == nil {
		return nil, kerr.UnknownMemberID
	}
	member, err := g.who(r.MemberID, r.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case g.state == preparing:
		return nil, kerr.RebalanceInProgress
	case r.Generation != g.generation:
		return nil, kerr.IllegalGeneration
	case r.ProtocolType != nil && *r.ProtocolType != g.protocolType,
		r.Protocol != nil && *r.Protocol != g.protocol:
		return nil, kerr.InconsistentGroupProtocol
	case g.state == empty:
		return nil, kerr.UnknownMemberID
	}
	return member, nil
}

// assign takes the leader's word: it is recorded, and then everybody who asked gets their part.
func (m *Machine) assign(g *group, parts []kmsg.SyncGroupRequestGroupAssignment, now time.Time, step *coord.Step) {
	byMember := make(map[string][]byte, len(parts))
	for i := range parts {
		byMember[parts[i].MemberID] = parts[i].MemberAssignment
	}
	for id, member := range g.members {
		member.assignment = byMember[id]
	}
	step.Records = append(step.Records, g.record(now))
	step.Reply(func(err error) {
		for _, member := range g.members {
			switch {
			case member.syncing == nil:
			case err != nil:
				// The disk refused the record. Members join anew, and try again.
				m.failSync(g, member, kerr.RebalanceInProgress, now)
			default:
				reply := member.syncing
				member.syncing = nil
				m.touch(g, member, now)
				reply(g.synced(member))
			}
		}
	})
}

func (g *group) synced(member *member) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ProtocolType = kmsg.StringPtr(g.protocolType)
	resp.Protocol = kmsg.StringPtr(g.protocol)
	resp.MemberAssignment = member.assignment
	if resp.MemberAssignment == nil {
		resp.MemberAssignment = []byte{}
	}
	return resp
}

// Heartbeat keeps a member's session alive and tells it about rebalances.
func (m *Machine) Heartbeat(r *kmsg.HeartbeatRequest, now time.Time) *kerr.Error {
	g := m.groups[r.Group]
	if g == nil {
		return kerr.UnknownMemberID
	}
	member, err := g.who(r.MemberID, r.InstanceID)
	switch {
	case err != nil:
		return err
	case g.state == empty:
		return kerr.UnknownMemberID
	case r.Generation != g.generation:
		return kerr.IllegalGeneration
	}
	m.touch(g, member, now)
	if g.state == preparing {
		return kerr.RebalanceInProgress
	}
	return nil
}

// Leaving names a member that leaves: by its id, or by the name of its instance alone.
type Leaving struct {
	MemberID string
	Instance *string
}

// Leave takes members out of a group. There is one error per member.
func (m *Machine) Leave(groupID string, leaving []Leaving, now time.Time) (errs []*kerr.Error, step coord.Step) {
	errs = make([]*kerr.Error, len(leaving))
	g := m.groups[groupID]
	for i, who := range leaving {
		errs[i] = m.leave(g, who, now, &step)
	}
	if g != nil {
		m.dropIfUnused(g)
	}
	return errs, step
}

func (m *Machine) leave(g *group, who Leaving, now time.Time, step *coord.Step) *kerr.Error {
	if g == nil {
		return kerr.UnknownMemberID
	}
	if _, ok := g.invited[who.MemberID]; ok {
		delete(g.invited, who.MemberID)
		m.timers.Stop(timer{invitedTimer, g.id, who.MemberID})
		m.tryCompleteJoin(g, now, step)
		return nil
	}
	id := who.MemberID
	if who.Instance != nil && id == "" {
		id = g.statics[*who.Instance]
	}
	member, err := g.who(id, who.Instance)
	if err != nil {
		return err
	}
	m.remove(g, member, now, step)
	return nil
}
