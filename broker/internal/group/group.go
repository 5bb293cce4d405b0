package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type state int8

const (
	empty state = iota
	preparing
	completing
	stable
)

// String returns the name that DescribeGroups tells.
func (s state) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

type group struct {
	id             string
	state          state
	since          time.Time // of the state
	protocolType   string
	protocol       string
	generation     int32
	leader         string // a member's id
	members        map[string]*member
	statics        map[string]string   // instance id to member id
	pendingMembers map[string]struct{} // member ids that were handed out and have not joined
	// delayed says that the rebalance is the first of a group and waits for more members, up to delayEnd.
	delayed  bool
	arrived  bool // somebody joined since the delay began
	delayEnd time.Time

	offsets        map[topicPartition]offset
	unstable       map[topicPartition]int // how many open transactions have an offset of it
	pendingOffsets int
	recorded       bool // the log has a record of the group itself
	emptying       bool // the record that leaves nobody in it is on its way to the log
}

func newGroup(id string) *group {
	return &group{
		id: id, members: map[string]*member{}, statics: map[string]string{}, pendingMembers: map[string]struct{}{},
		offsets: map[topicPartition]offset{}, unstable: map[topicPartition]int{},
	}
}

type member struct {
	id               string
	instance         *string
	clientID         string
	clientHost       string
	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	protocols        []kmsg.JoinGroupRequestProtocol
	assignment       []byte
	// awaitingJoin and awaitingSync are transient: the replies that the member waits for, nil if it does not.
	awaitingJoin func(*kmsg.JoinGroupResponse)
	awaitingSync func(*kmsg.SyncGroupResponse)
	synced       bool // it asked for its assignment in this generation
}

// metadata returns what the member said for a protocol.
func (m *member) metadata(protocol string) []byte {
	for i := range m.protocols {
		if m.protocols[i].Name == protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

func (m *member) sameProtocols(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && string(a.Metadata) == string(b.Metadata)
	})
}

func (g *group) to(s state, now time.Time) { g.state, g.since = s, now }

func (g *group) add(m *member) {
	g.members[m.id] = m
	if m.instance != nil {
		g.statics[*m.instance] = m.id
	}
	if g.leader == "" {
		g.leader = m.id
	}
}

// takes tells whether a member with these protocols can be in the group.
func (g *group) takes(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if len(g.members) == 0 {
		return true
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return g.supported(p.Name)
	})
}

func (g *group) supported(protocol string) bool {
	for _, m := range g.members {
		if !slices.ContainsFunc(m.protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return p.Name == protocol }) {
			return false
		}
	}
	return true
}

// vote chooses a protocol: each member votes for the first of its list that all support.
func (g *group) vote() string {
	votes := map[string]int{}
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.supported(p.Name) {
				votes[p.Name]++
				break
			}
		}
	}
	best := ""
	for name, n := range votes {
		if best == "" || n > votes[best] || n == votes[best] && name < best {
			best = name
		}
	}
	return best
}

// findMember finds the member that sent a request.
func (g *group) findMember(memberID string, instance *string) (*member, *kerr.Error) {
	if instance != nil {
		id, ok := g.statics[*instance]
		switch {
		case !ok:
			return nil, kerr.UnknownMemberID
		case id != memberID:
			return nil, kerr.FencedInstanceID
		}
	}
	m := g.members[memberID]
	if m == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}

func (g *group) maxRebalanceTimeout() time.Duration {
	var d time.Duration
	for _, m := range g.members {
		d = max(d, m.rebalanceTimeout)
	}
	return d
}

func (g *group) allJoined() bool {
	for _, m := range g.members {
		if m.awaitingJoin == nil {
			return false
		}
	}
	return len(g.pendingMembers) == 0
}

// sortedMembers returns the members in the order of their ids.
func (g *group) sortedMembers() []*member {
	members := make([]*member, 0, len(g.members))
	for _, m := range g.members {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b *member) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return members
}
