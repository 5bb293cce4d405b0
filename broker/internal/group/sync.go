package group

import (
	"slices"
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
	if member.awaitingSync != nil {
		m.failSync(g, member, kerr.RebalanceInProgress, now)
	}
	member.awaitingSync = reply
	if member.id == g.leader {
		m.assign(g, r.GroupAssignment, now, &step)
	}
	return step
}

func (m *Machine) checkSync(g *group, r *kmsg.SyncGroupRequest) (*member, *kerr.Error) {
	if g == nil {
		return nil, kerr.UnknownMemberID
	}
	member, err := g.findMember(r.MemberID, r.InstanceID)
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

// assign takes the leader's word: once it is recorded, everybody who asked gets their part.
func (m *Machine) assign(g *group, parts []kmsg.SyncGroupRequestGroupAssignment, now time.Time, step *coord.Step) {
	byMember := make(map[string][]byte, len(parts))
	for i := range parts {
		byMember[parts[i].MemberID] = parts[i].MemberAssignment
	}
	step.Records = append(step.Records, g.recordOf(now, func(member *member) []byte { return byMember[member.id] }))
	step.Reply(func(err error) {
		for _, member := range g.members {
			switch {
			case member.awaitingSync == nil:
			case err != nil:
				// The disk refused the record. Members wait a little and ask again; a rebalance would have them
				// would join again at once, and so on, as fast as they can.
				m.failSync(g, member, kerr.CoordinatorNotAvailable, now)
			default:
				reply := member.awaitingSync
				member.awaitingSync = nil
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
	member, err := g.findMember(r.MemberID, r.InstanceID)
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
	if g == nil {
		for i := range errs {
			errs[i] = kerr.UnknownMemberID
		}
		return errs, step
	}
	var gone []*member
	for i, who := range leaving {
		if _, ok := g.pendingMembers[who.MemberID]; ok {
			delete(g.pendingMembers, who.MemberID)
			m.timers.Stop(timer{invitedTimer, g.id, who.MemberID})
			continue
		}
		var leaver *member
		if leaver, errs[i] = g.leaver(who); errs[i] == nil && slices.Contains(gone, leaver) {
			errs[i] = kerr.UnknownMemberID // it is named twice
		}
		if errs[i] == nil {
			gone = append(gone, leaver)
		}
	}
	m.remove(g, gone, now, &step)
	m.dropIfUnused(g)
	return errs, step
}

func (g *group) leaver(who Leaving) (*member, *kerr.Error) {
	id := who.MemberID
	if who.Instance != nil && id == "" {
		id = g.statics[*who.Instance]
	}
	return g.findMember(id, who.Instance)
}
