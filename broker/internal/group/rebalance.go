package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// rebalance begins one if none is in progress, and completes it if all are there.
func (m *Machine) rebalance(g *group, now time.Time, step *coord.Step) {
	if g.state != preparing {
		for _, member := range g.members {
			m.failSync(g, member, kerr.RebalanceInProgress, now)
		}
		m.timers.Stop(timer{kind: syncTimer, group: g.id})
		m.timers.Stop(timer{kind: expiryTimer, group: g.id})
		timeout := g.maxRebalanceTimeout()
		g.delayed = g.state == empty && m.cfg.InitialRebalanceDelay > 0
		if g.delayed {
			g.delayEnd = now.Add(timeout)
			timeout = min(timeout, m.cfg.InitialRebalanceDelay)
			g.arrived = false
		}
		g.to(preparing, now)
		m.timers.Set(timer{kind: rebalanceTimer, group: g.id}, now.Add(timeout))
	}
	m.tryCompleteJoin(g, now, step)
}

func (m *Machine) failSync(g *group, member *member, err *kerr.Error, now time.Time) {
	if member.awaitingSync == nil {
		return
	}
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = err.Code
	member.awaitingSync(resp)
	member.awaitingSync = nil
	m.touch(g, member, now)
}

func (m *Machine) tryCompleteJoin(g *group, now time.Time, step *coord.Step) {
	if g.state == preparing && !g.delayed && g.allJoined() {
		m.completeJoin(g, now, step)
	}
}

// rebalanceTimeout completes the rebalance with the members that have joined.
func (m *Machine) rebalanceTimeout(g *group, now time.Time, step *coord.Step) {
	if g.state != preparing {
		return
	}
	if g.delayed && g.arrived && now.Before(g.delayEnd) {
		g.arrived = false
		next := now.Add(m.cfg.InitialRebalanceDelay)
		if next.After(g.delayEnd) {
			next = g.delayEnd
		}
		m.timers.Set(timer{kind: rebalanceTimer, group: g.id}, next)
		return
	}
	g.delayed = false
	anybody := false
	for id, member := range g.members {
		switch {
		case member.awaitingJoin != nil:
			anybody = true
		case member.instance == nil:
			m.forgetMember(g, id)
		}
	}
	if !anybody && len(g.members) > 0 { // static members may be on their way back: their sessions decide
		m.timers.Set(timer{kind: rebalanceTimer, group: g.id}, now.Add(g.maxRebalanceTimeout()))
		return
	}
	m.completeJoin(g, now, step)
}

// completeJoin begins a new generation with the members that there are.
func (m *Machine) completeJoin(g *group, now time.Time, step *coord.Step) {
	if len(g.members) == 0 {
		m.empty(g, now, step)
		return
	}
	m.timers.Stop(timer{kind: rebalanceTimer, group: g.id})
	g.delayed = false
	g.generation = max(g.generation, 0) + 1
	g.protocol = g.vote()
	if leader := g.members[g.leader]; leader == nil || leader.awaitingJoin == nil {
		for _, member := range g.sortedMembers() {
			if member.awaitingJoin != nil {
				g.leader = member.id
				break
			}
		}
	}
	g.to(completing, now)
	m.timers.Set(timer{kind: syncTimer, group: g.id}, now.Add(g.maxRebalanceTimeout()))
	for _, member := range g.members {
		member.synced, member.assignment = false, nil
		if member.awaitingJoin == nil {
			continue
		}
		reply := member.awaitingJoin
		member.awaitingJoin = nil
		m.touch(g, member, now)
		resp := g.joined(member, nil)
		step.Reply(func(error) { reply(resp) })
	}
}

// empty begins a generation without members. Those who are left stay until the record is accepted.
func (m *Machine) empty(g *group, now time.Time, step *coord.Step) {
	next := *g
	next.generation, next.members = max(g.generation, 0)+1, nil
	step.Records = append(step.Records, next.record(now))
	g.emptying = true
	last := g.sortedMembers()
	step.Reply(func(err error) {
		g.emptying = false
		if err == nil {
			for _, member := range last {
				member.dismiss(kerr.UnknownMemberID)
			}
			return
		}
		for _, member := range last {
			m.timers.Set(timer{sessionTimer, g.id, member.id}, now.Add(retryAfter))
		}
		if len(last) == 0 {
			m.timers.Set(timer{kind: rebalanceTimer, group: g.id}, now.Add(retryAfter))
		}
	})
}

// syncTimeout removes those who joined and then never asked for their assignment.
func (m *Machine) syncTimeout(g *group, now time.Time, step *coord.Step) {
	if g.state != completing && g.state != stable {
		return
	}
	gone := false
	for id, member := range g.members {
		if !member.synced && member.instance == nil {
			m.forgetMember(g, id)
			gone = true
		}
	}
	if gone || g.state == completing {
		m.rebalance(g, now, step)
	}
}

// remove takes members out and rebalances the rest.
func (m *Machine) remove(g *group, gone []*member, now time.Time, step *coord.Step) {
	waits := g.delayed || len(g.pendingMembers) > 0
	if len(gone) == len(g.members) && len(gone) > 0 && !waits {
		m.empty(g, now, step)
		return
	}
	for _, member := range gone {
		m.forgetMember(g, member.id)
	}
	switch g.state {
	case completing, stable:
		if len(gone) > 0 {
			m.rebalance(g, now, step)
		}
	case preparing:
		m.tryCompleteJoin(g, now, step)
	}
}

// dismiss answers the requests of a member that is gone.
func (m *member) dismiss(err *kerr.Error) {
	if m.awaitingJoin != nil {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.MemberID, resp.Generation = err.Code, m.id, -1
		m.awaitingJoin(resp)
	}
	if m.awaitingSync != nil {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode = err.Code
		m.awaitingSync(resp)
	}
	m.awaitingJoin, m.awaitingSync = nil, nil
}

// forgetMember ends a member's existence, and what it waits for.
func (m *Machine) forgetMember(g *group, id string) {
	member := g.members[id]
	member.dismiss(kerr.UnknownMemberID)
	delete(g.members, id)
	if member.instance != nil && g.statics[*member.instance] == id {
		delete(g.statics, *member.instance)
	}
	if g.leader == id {
		g.leader = ""
	}
	m.timers.Stop(timer{sessionTimer, g.id, id})
}
