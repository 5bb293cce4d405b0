package kclient

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Member is a place in a consumer group. A process has one: the group assigns partitions to it, and the process spreads
// them over clients of its own, whose [Config] names the member. They commit offsets in its name (KIP-447), each in a
// transaction of its own.
type Member struct {
	cfg    Config
	client *kgo.Client
	group  *group
	closed chan struct{}
	once   sync.Once
}

// Lease is the right to commit offsets of partitions: that of the membership under which they were assigned. It lasts
// through the generations of the group in which the member keeps the partitions, and ends for good when the membership
// is lost, also when the same process joins again at once. The zero value is that of a group before its first
// assignment.
type Lease struct {
	member string
	lost   int // memberships before this one
}

// NewMember prepares a membership of Config.Group. Clients may name it, and have no partitions before it joins.
func NewMember(cfg Config) (*Member, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Group == "" {
		return nil, errors.New("kclient: member: there is no Group")
	}
	return newMember(cfg, make(chan struct{})), nil
}

// Join makes this process a member of the group, once. It waits for the broker where Config.Known does not know it, and
// neither for the group nor for partitions.
func (m *Member) Join(ctx context.Context) error {
	implicit, err := m.cfg.probed(ctx)
	if err != nil {
		return err
	}
	if m.cfg.InstanceID != "" {
		if err := m.lookBefore(ctx); err != nil {
			return err
		}
	}
	client, err := m.cfg.newClient(implicit, m)
	if err != nil {
		return err
	}
	m.begin(client)
	return nil
}

func newMember(cfg Config, closed chan struct{}) *Member {
	return &Member{cfg: cfg, group: newGroup(closed), closed: closed}
}

// begin watches a client that takes part in the group already. Its records are fetched by others.
func (m *Member) begin(client *kgo.Client) {
	m.client = client
	client.PauseFetchTopics(m.cfg.Topics...)
	go m.group.watch(client)
}

// Events returns the changes of the membership, in order. The first event after joining is Assigned, possibly with no
// partitions.
func (m *Member) Events() <-chan Event { return m.group.events }

// Rejoin makes the group assign again, with what the balancer reports by then.
func (m *Member) Rejoin() { m.client.ForceRebalance() }

// Close leaves the group that was joined. It releases Revoked and Lost events that wait for Done: whoever holds
// partitions ends before.
func (m *Member) Close() { m.close(m.leave) }

// Suspend ends like Close, and does not leave: until the session ends the group keeps the member's partitions for the
// next one with its InstanceID.
func (m *Member) Suspend() { m.close(func() {}) }

func (m *Member) close(leave func()) {
	m.once.Do(func() {
		close(m.closed)
		leave()
		m.client.Close()
		<-m.group.watched
	})
}

// identity is who commits under a lease now. ok is false when the lease has ended.
func (m *Member) identity(l Lease) (id string, generation int32, ok bool) {
	id, generation = m.client.GroupMetadata()
	return id, generation, m.group.holds(l, id)
}

// UseLease says under which lease the partitions are held whose offsets the client commits from now on. Its caller
// holds none of another lease any more. A client with a Group of its own has the lease of its last assignment.
func (c *Client) UseLease(l Lease) { c.offsets.lease.Store(l) }

func (o *groupOffsets) leased() Lease {
	if o.own {
		return o.member.group.held()
	}
	l, _ := o.lease.Load().(Lease)
	return l
}

// ConfirmMember asks the group's coordinator whether the lease lasts. While it does, what the member was assigned and
// has not given back is nobody else's, also during a rebalance. The member alone cannot know that: it learns by its
// next heartbeat that its session has ended. It may have joined again by then under another id, so the question is
// about the id that the partitions were assigned to.
func (c *Client) ConfirmMember(ctx context.Context) error { return c.offsets.confirm(ctx) }

func (o *groupOffsets) confirm(ctx context.Context) error {
	lease := o.leased()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group = o.cfg.Group
	req.MemberID, req.Generation = o.member.client.GroupMetadata()
	if lease.member != "" {
		req.MemberID = lease.member
	}
	if o.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(o.cfg.InstanceID)
	}
	resp, err := req.RequestWith(ctx, o.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	// A coordinator looks for the member first, and for its generation then.
	if errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration) {
		err = nil
	}
	if err == nil && !o.member.group.holds(lease, req.MemberID) {
		err = kerr.UnknownMemberID
	}
	if err == nil {
		return nil
	}
	return classified(fmt.Errorf("kclient: membership of group %s: %w", o.cfg.Group, err))
}
