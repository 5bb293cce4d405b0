// Package group is the group coordinator as a fold over __consumer_offsets: the
// classic group protocol, and committed offsets.
//
// Hard state, in Kafka's own record formats: committed offsets (OffsetCommitKey and
// OffsetCommitValue), and a group's members with their assignment as of its last
// completed rebalance (GroupMetadataKey and GroupMetadataValue), so that members
// survive a restart of the broker without a rebalance. It changes by Replay and in
// no other way: a record that the log refuses leaves it, and what clients see of it,
// as it was.
//
// The rebalance is soft: state Preparing and Completing with its generation, who has
// joined and which of them wait, what members have said since the last assignment, the ids
// that were handed out, and all timers. A restart forgets it, and the members of the
// last recorded generation find out by their next request.
//
//	        join                     all joined, or time is up          the leader's assignment
//	Empty ───────► PreparingRebalance ───────► CompletingRebalance ───────► Stable
//	  ▲              │   ▲                        │  join, leave, timeout      │
//	  └── all gone ──┘   └────────────────────────┴────────────────────────────┘
//
// Offsets that belong to a transaction are records of a transactional batch in the
// same log. They wait beside the committed ones until the transaction's marker.
package group

import (
	"time"

	"thalweg/broker/internal/coord"
)

// Expired is an offset whose time was over.
type Expired struct {
	Group, Topic string
	Partition    int32
	Offset       int64
	Committed    time.Time
}

// Config sets the machine up. All fields are required but InitialRebalanceDelay and OnExpire.
type Config struct {
	MinSessionTimeout, MaxSessionTimeout time.Duration
	InitialRebalanceDelay                time.Duration
	OffsetRetention                      time.Duration
	MaxMetadataBytes                     int // of one committed offset
	MaxMembers                           int // of one group
	// OnExpire is called for each offset that expired; it may be nil.
	OnExpire func(Expired)
}

// Machine holds all groups. See coord.Machine.
type Machine struct {
	cfg    Config
	groups map[string]*group
	timers coord.Timers[timer]
	// pending are the offsets of open transactions, by producer id and then in the order of their arrival.
	pending map[int64][]pendingOffset
	places  int64 // of the last record of an offset
}

type timerKind int8

const (
	sessionTimer   timerKind = iota // a member is silent
	invitedTimer                    // a member id was handed out and not used
	rebalanceTimer                  // members have not joined
	syncTimer                       // members have not asked for their assignment
	expiryTimer                     // offsets of an idle group
)

type timer struct {
	kind   timerKind
	group  string
	member string
}

type topicPartition struct {
	topic     string
	partition int32
}

// New returns an empty machine.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, groups: make(map[string]*group), pending: make(map[int64][]pendingOffset)}
}

// Deadline implements coord.Machine.
func (m *Machine) Deadline() time.Time { return m.timers.Deadline() }

// Tick implements coord.Machine.
func (m *Machine) Tick(now time.Time) (step coord.Step) {
	for range maxDuePerTick {
		due, ok := m.timers.Pop(now)
		if !ok {
			return step
		}
		g := m.groups[due.group]
		if g == nil {
			continue
		}
		if g.emptying { // in this very step
			m.timers.Set(due, now.Add(retryAfter))
			continue
		}
		switch due.kind {
		case sessionTimer:
			silent := g.members[due.member]
			switch {
			case silent == nil:
			case silent.awaitingJoin != nil || silent.awaitingSync != nil:
				m.touch(g, silent, now) // it waits for us, not we for it
			default:
				m.remove(g, []*member{silent}, now, &step)
			}
		case invitedTimer:
			delete(g.pendingMembers, due.member)
			m.tryCompleteJoin(g, now, &step)
			m.dropIfUnused(g)
		case rebalanceTimer:
			m.rebalanceTimeout(g, now, &step)
		case syncTimer:
			m.syncTimeout(g, now, &step)
		case expiryTimer:
			m.expire(g, now, &step)
		}
	}
	return step
}

const (
	maxDuePerTick = 1000
	retryAfter    = 10 * time.Second // when the log refuses records
)

func (m *Machine) group(id string) *group {
	g := m.groups[id]
	if g == nil {
		g = newGroup(id)
		m.groups[id] = g
	}
	return g
}

// dropIfUnused forgets a group of which nothing is left.
func (m *Machine) dropIfUnused(g *group) {
	if len(g.members) == 0 && len(g.pendingMembers) == 0 && len(g.offsets) == 0 && g.pendingOffsets == 0 && !g.recorded {
		delete(m.groups, g.id)
		m.timers.Stop(timer{kind: expiryTimer, group: g.id})
	}
}

// touch restarts a member's session.
func (m *Machine) touch(g *group, member *member, now time.Time) {
	m.timers.Set(timer{sessionTimer, g.id, member.id}, now.Add(member.sessionTimeout))
}
