// Package group is the group coordinator as a fold over __consumer_offsets: the
// classic group protocol, and committed offsets.
//
// Hard state, in Kafka's own record formats: committed offsets (OffsetCommitKey and
// OffsetCommitValue), and a group's members with their assignment as of its last
// completed rebalance (GroupMetadataKey and GroupMetadataValue), so that members
// survive a restart of the broker without a rebalance. Who is waiting in a
// rebalance is soft.
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
		switch due.kind {
		case sessionTimer:
			member := g.members[due.member]
			switch {
			case member == nil:
			case member.joining != nil || member.syncing != nil:
				m.touch(g, member, now) // it waits for us, not we for it
			default:
				m.remove(g, member, now, &step)
			}
		case invitedTimer:
			delete(g.invited, due.member)
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
	if len(g.members) == 0 && len(g.invited) == 0 && len(g.offsets) == 0 && g.pendingOffsets == 0 && !g.recorded {
		delete(m.groups, g.id)
		m.timers.Stop(timer{kind: expiryTimer, group: g.id})
	}
}

// touch begins a member's session anew.
func (m *Machine) touch(g *group, member *member, now time.Time) {
	m.timers.Set(timer{sessionTimer, g.id, member.id}, now.Add(member.sessionTimeout))
}
