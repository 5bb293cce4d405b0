package kclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/assign"
)

// A member with an InstanceID is static (KIP-345): the group keeps its partitions for it when it falls silent, until
// its session ends. The next member with the InstanceID takes its place, and gets its partitions without a rebalance.
//
// The coordinator does not look at what the new member says of itself. Where that matters to the leader, the member has
// the group balanced once it has joined.
//
// A leader that comes back is not to assign. franz-go has it work out an assignment all the same, and balances the
// group where that differs from what it gets. Here it does, since the member does not own anything yet. Before version
// 9 of JoinGroup the coordinator does not say who leads in that case. franz-go finds out, and assigns nothing.

// Instance is a static member as the group knows it.
type Instance struct{ Name, MemberID, ClientID, Host string }

func (i Instance) String() string { return fmt.Sprintf("client %s at %s", i.ClientID, i.Host) }

// TookInstance tells that another member has the place of this one, under the same InstanceID.
func TookInstance(err error) bool { return errors.Is(err, kerr.FencedInstanceID) }

// Instance is the member of a group with an InstanceID. ok is false when there is none.
func (c *Client) Instance(ctx context.Context, group, id string) (i Instance, ok bool, err error) {
	m, err := c.cfg.instance(ctx, c.client, group, id)
	if err != nil || m == nil {
		return Instance{}, false, err
	}
	return Instance{id, m.MemberID, m.ClientID, m.ClientHost}, true, nil
}

// instance describes a static member of a group; nil: there is none.
func (c Config) instance(ctx context.Context, client *kgo.Client, group, id string) (
	*kmsg.DescribeGroupsResponseGroupMember, error) {
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{group}
	described, err := request(ctx, c.RetryTimeout, "describe group "+group, nil,
		func(ctx context.Context) (*kmsg.DescribeGroupsResponse, error) {
			return describe.RequestWith(ctx, client)
		},
		func(*kmsg.DescribeGroupsResponse) error { return nil })
	if err != nil {
		return nil, err
	}
	for _, g := range described.Groups {
		for i := range g.Members {
			if m := &g.Members[i]; m.InstanceID != nil && *m.InstanceID == id {
				return m, nil
			}
		}
	}
	return nil, nil
}

// lookBefore looks at the member whose place this one is about to take. Where the leader would have to know that it is
// another one than before, the group is balanced when it has joined.
func (m *Member) lookBefore(ctx context.Context) error {
	client, err := kgo.NewClient(append(m.cfg.connection(), m.cfg.Client...)...)
	if err != nil {
		return fmt.Errorf("kclient: open: %w", err)
	}
	defer client.Close()
	before, err := m.cfg.instance(ctx, client, m.cfg.Group, m.cfg.InstanceID)
	if err != nil || before == nil {
		return err
	}
	m.cfg.Logger.Info("takes the place of the member with the same instance", "group", m.cfg.Group, "instance",
		m.cfg.InstanceID, "client", before.ClientID, "host", before.ClientHost)
	b, ours := m.cfg.Balancer.(*balancer)
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.group.renews = ours && !b.saysTheSame(before.ProtocolMetadata, m.cfg.Topics)
	return nil
}

// takeRenews tells, once, that the group is to be balanced again.
func (g *group) takeRenews() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	renews := g.renews
	g.renews = false
	return renews
}

// saysTheSame tells that this member says nothing new to the leader: what it has on disk aside.
func (b *balancer) saysTheSame(metadata []byte, topics []string) bool {
	meta := kmsg.NewConsumerMemberMetadata()
	if len(metadata) == 0 {
		return true // the group is being balanced
	}
	if err := meta.ReadFrom(metadata); err != nil {
		return false
	}
	was, err := assign.DecodeReport(meta.UserData)
	if err != nil || !slices.Equal(slices.Sorted(slices.Values(meta.Topics)), slices.Sorted(slices.Values(topics))) {
		return false
	}
	is := b.cfg.Report()
	return was.Topology == sumOf(b.cfg.Topology) && was.NamesTasks() && was.Process == is.Process &&
		was.Weight == is.Weight && was.Endpoint == is.Endpoint && maps.Equal(was.Tags, is.Tags)
}
